/// The counter of a server that orders all who ever held it: each claim of one of its migrations, each start, stop and rescue raises it.
///
/// Whoever holds an older one is refused everywhere: by the store (`WHERE … epoch = …`) and by every agent (409).
package struct Epoch: Hashable, Comparable, Sendable, Codable, CustomStringConvertible {
    package let value: Int64

    package init(_ value: Int64) {
        self.value = value
    }

    package init(from decoder: any Decoder) throws {
        self.value = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }

    /// The epoch of a server that nobody has held yet.
    package static let none = Epoch(0)

    package var next: Epoch { Epoch(value + 1) }

    package static func < (left: Epoch, right: Epoch) -> Bool { left.value < right.value }

    package var description: String { String(value) }
}
