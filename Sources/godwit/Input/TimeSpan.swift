import ArgumentParser

/// Spans of time as people write them.
enum TimeSpan {
    /// One that is longer than nothing.
    /// - Parameter examples: what is shown to whoever wrote something else.
    static func positive(_ text: String, like examples: String) throws -> Duration {
        guard let span = duration(text), span > .zero else { throw ValidationError("write a time like \(examples).") }
        return span
    }

    /// `90`, `90s`, `5m`, `2h`, `10d`, `500ms`; plain numbers are seconds. Nil for what is none or is negative.
    static func duration(_ text: String) -> Duration? {
        let units: [(String, Int64)] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)]
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let unit = text.dropFirst(digits.count)
        guard let number = Int64(digits) else { return nil }
        guard let factor = unit.isEmpty ? 1000 : units.first(where: { $0.0 == unit })?.1 else { return nil }
        let (milliseconds, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : .milliseconds(milliseconds)
    }
}
