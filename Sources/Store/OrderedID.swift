import Fleet
import Synchronization

/// Makes identities that sort by the time of their making: UUIDs of version 7 (RFC 9562), in lower case.
enum OrderedID {
    /// 48 bits of milliseconds, then 12 of a counter that tells apart what this process made in the same one.
    private static let last = Mutex<UInt64>(0)

    static func make<Subject>(at time: Timestamp) -> Identifier<Subject> {
        let ordered = last.withLock { last in
            last = max(UInt64(max(0, time.milliseconds)) << 12, last + 1)
            return last
        }
        let high = (ordered >> 12) << 16 | 0x7000 | (ordered & 0xfff)
        let low = UInt64.random(in: 0...UInt64.max) & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000
        return Identifier(text(high, low))
    }

    /// As text not after any that is made at this time or later.
    static func first(at time: Timestamp) -> String { text(UInt64(max(0, time.milliseconds)) << 16, 0) }

    private static func text(_ high: UInt64, _ low: UInt64) -> String {
        let digits = hexadecimal(high) + hexadecimal(low)
        var text = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { text.append("-") }
            text.append(digit)
        }
        return text
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
