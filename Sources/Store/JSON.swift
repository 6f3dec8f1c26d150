import Fleet
import Foundation
import Synchronization

/// Values of Fleet kept as JSON text in a column.
enum JSON {
    static func text(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func value<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
        do {
            return try JSONDecoder().decode(type, from: Data(text.utf8))
        } catch {
            throw StoreError(
                .incompatible, "The database holds a \(type) that this Godwit cannot read; it may have been written by a newer one.",
                cause: error)
        }
    }

    /// Options are read with every row of a migration, and those of most migrations are the same few.
    static func options(_ text: String) throws -> MigrationOptions {
        if let known = known.withLock({ $0[text] }) { return known }
        let options = try value(MigrationOptions.self, text)
        known.withLock { known in
            if known.count >= 256 { known = [:] }
            known[text] = options
        }
        return options
    }

    private static let known = Mutex<[String: MigrationOptions]>([:])

    /// What a host told is read with its every row, and a guest's description with every row of its server.
    static func facts(_ text: String) throws -> HostFacts { try facts.value(of: text) { try value(HostFacts.self, $0) } }

    static func description(_ text: String) throws -> GuestDescription {
        try descriptions.value(of: text) { try value(GuestDescription.self, $0) }
    }

    private static let facts = Remembered<HostFacts>(bytesAtMost: 32 << 20)
    private static let descriptions = Remembered<GuestDescription>(bytesAtMost: 16 << 20)
}
