import ArgumentParser

/// Values of flags that are numbers, or spans of time in whole seconds.
enum Numbers {
    /// Takes whatever follows its flag, so that a number below zero and a value left out are told apart.
    ///
    /// - Parameter unit: In sentences: `MB/s`.
    static func whole(_ text: String, in range: ClosedRange<Int64>, unit: String) throws -> Int64 {
        guard !text.hasPrefix("--") else {
            throw ValidationError("it needs a number of \(unit) before the next flag, or must be left out.")
        }
        guard let number = Int64(text) else { throw ValidationError("it must be a whole number of \(unit).") }
        guard range.contains(number) else {
            throw ValidationError("it must be from \(range.lowerBound) to \(range.upperBound) \(unit).")
        }
        return number
    }

    /// `90`, `90s`, `5m`, `2h`: in seconds.
    static func seconds(_ text: String, in range: ClosedRange<Int64>) throws -> Int64 {
        guard let span = TimeSpan.duration(text), span.components.attoseconds == 0 else {
            throw ValidationError("write a time in whole seconds, like 90, 90s or 5m.")
        }
        guard range.contains(span.components.seconds) else {
            throw ValidationError("it must be from \(range.lowerBound) to \(range.upperBound) s.")
        }
        return span.components.seconds
    }
}
