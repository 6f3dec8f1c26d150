/// The identity of one thing in the fleet, typed by what it names, so that a host's can never stand where a server's belongs.
///
/// On the wire and in the store it is a plain string.
package struct Identifier<Subject>: Hashable, Sendable, Codable, CustomStringConvertible, ExpressibleByStringLiteral {
    package let value: String

    package init(_ value: String) {
        self.value = value
    }

    package init(stringLiteral value: String) {
        self.value = value
    }

    package init(from decoder: any Decoder) throws {
        self.value = try decoder.singleValueContainer().decode(String.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }

    /// A new identity that no other place has given out: a random UUID (RFC 9562), in lower case.
    package static func unique() -> Self {
        var chance = Chance()
        return Self(
            high: chance.next() & 0xffff_ffff_ffff_0fff | 0x4000, low: chance.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000)
    }

    /// The 128 bits of a UUID as they are written, in lower case.
    package init(high: UInt64, low: UInt64) {
        func hexadecimal(_ value: UInt64) -> String {
            let digits = String(value, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        var text = ""
        for (index, digit) in (hexadecimal(high) + hexadecimal(low)).enumerated() {
            if [8, 12, 16, 20].contains(index) { text.append("-") }
            text.append(digit)
        }
        self.init(text)
    }

    package var description: String { value }
}

package typealias HostID = Identifier<Host>
package typealias StorageID = Identifier<Storage>
package typealias NetworkID = Identifier<Network>
package typealias ServerID = Identifier<Server>
package typealias MigrationID = Identifier<Migration>
package typealias GroupID = Identifier<ServerGroup>
