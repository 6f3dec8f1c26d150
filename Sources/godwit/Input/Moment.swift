import Client
import Fleet

/// Moments as people write them.
enum Moment {
    /// `7d`, `12h`, `90s`: so long ago; `2026-03-01`: the beginning of that day in UTC; or an RFC 3339 time.
    static func parse(_ text: String, field: String, now: Timestamp = .now) throws(InputError) -> WireTime {
        if let last = text.last, last.isLetter, let span = TimeSpan.duration(text) {
            return WireTime(Timestamp(milliseconds: now.milliseconds - span.components.seconds * 1000))
        }
        guard let time = WireTime(text.count == 10 ? "\(text)T00:00:00Z" : text) else {
            throw InputError("\(field) “\(text)” is no time; write it like 7d (ago), 2026-03-01, or 2026-03-01T12:00:00Z.")
        }
        return time
    }
}
