package import Fleet
import Foundation

/// A moment as the API writes it: an RFC 3339 string in UTC with milliseconds, `2026-03-01T12:00:00.123Z`.
package struct WireTime: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    package let timestamp: Timestamp

    package init(_ timestamp: Timestamp) {
        self.timestamp = timestamp
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let time = WireTime(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "“\(text)” is no RFC 3339 time")
        }
        self = time
    }

    /// Nil for what is no RFC 3339 time.
    package init?(_ text: String) {
        let styles = [Date.ISO8601FormatStyle(includingFractionalSeconds: true), Date.ISO8601FormatStyle()]
        guard let date = styles.lazy.compactMap({ try? Date(text, strategy: $0) }).first else { return nil }
        self.timestamp = Timestamp(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    package static func < (left: WireTime, right: WireTime) -> Bool { left.timestamp < right.timestamp }

    package var description: String { timestamp.description }
}
