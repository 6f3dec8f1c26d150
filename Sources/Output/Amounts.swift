import Foundation

/// Amounts in the words that people read.
package enum Amounts {
    private static let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]

    /// `1.5 GiB`, `512 MiB`, `0 B`: powers of 1024, one decimal below ten.
    package static func bytes(_ count: Int64) -> String {
        let unit = unit(of: count)
        return "\(number(count, in: unit)) \(units[unit])"
    }

    /// `0.4/1.9 GiB`: both in the unit of the whole.
    package static func bytes(_ part: Int64, of whole: Int64) -> String {
        let unit = unit(of: whole)
        return "\(number(part, in: unit))/\(number(whole, in: unit)) \(units[unit])"
    }

    /// A virtual disk's size as it is given on the command line: `10G`, `1536M`, `1000000` where no unit fits.
    package static func size(_ count: Int64) -> String {
        var rest = count
        var unit = 0
        while rest > 0, rest % 1024 == 0, unit < 4 {
            rest /= 1024
            unit += 1
        }
        return "\(rest)\(["", "K", "M", "G", "T"][unit])"
    }

    /// `118 MB/s`: 10⁶ bytes a second, as bandwidth limits are given.
    package static func rate(_ bytesPerSecond: Int64) -> String {
        let megabytes = Double(max(0, bytesPerSecond)) / 1_000_000
        return (megabytes < 9.95 ? fixed(megabytes, 1) : fixed(megabytes, 0)) + " MB/s"
    }

    /// Time still to go: `0:14`, `3:05`, `1:02:03`, rounded up; `--:--` where nobody knows.
    package static func remaining(_ milliseconds: Int64?) -> String {
        guard let milliseconds, milliseconds >= 0 else { return "--:--" }
        let seconds = milliseconds / 1000 + (milliseconds % 1000 > 0 ? 1 : 0)
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60)
        return hours > 0 ? "\(hours):\(two(minutes)):\(two(rest))" : "\(minutes):\(two(rest))"
    }

    /// Time that something took: `850 µs`, `61.4 ms`, `4.2 s`, `3 min 5 s`.
    package static func span(microseconds: Int64) -> String {
        switch microseconds {
        case ..<1000: "\(microseconds) µs"
        case ..<1_000_000: fixed(Double(microseconds) / 1000, microseconds < 100_000 ? 1 : 0) + " ms"
        case ..<60_000_000: fixed(Double(microseconds) / 1_000_000, 1) + " s"
        default: "\(microseconds / 60_000_000) min \(microseconds / 1_000_000 % 60) s"
        }
    }

    /// `0.023 s`, `7.800 s`: for columns in which times are compared.
    package static func seconds(milliseconds: Int64) -> String { fixed(Double(milliseconds) / 1000, 3) + " s" }

    private static func unit(of count: Int64) -> Int {
        var unit = 0
        var rest = count.magnitude
        while rest >= 1024, unit < units.count - 1 {
            rest /= 1024
            unit += 1
        }
        return unit
    }

    private static func number(_ count: Int64, in unit: Int) -> String {
        guard unit > 0 else { return String(count) }
        let value = Double(count) / Double(Int64(1) << (10 * unit))
        // No decimal where it would only be a zero.
        return value < 9.95 && value != value.rounded() ? fixed(value, 1) : fixed(value, 0)
    }

    private static func fixed(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

    private static func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
