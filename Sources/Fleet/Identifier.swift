import Foundation

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
        Self(UUID().uuidString.lowercased())
    }

    package var description: String { value }
}

package typealias HostID = Identifier<Host>
package typealias StorageID = Identifier<Storage>
package typealias NetworkID = Identifier<Network>
package typealias ServerID = Identifier<Server>
package typealias MigrationID = Identifier<Migration>
package typealias GroupID = Identifier<ServerGroup>
