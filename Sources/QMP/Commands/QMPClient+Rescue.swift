/// A connection of QEMU's own that can be torn (QAPI `YankInstance`).
package enum YankInstance: Sendable, Hashable {
    /// The network connection of a block node such as an NBD client.
    case blockNode(String)
    case chardev(String)
    /// The stream of the migration under way.
    case migration

    package var json: JSONValue {
        switch self {
        case .blockNode(let name): ["type": "block-node", "node-name": .string(name)]
        case .chardev(let id): ["type": "chardev", "id": .string(id)]
        case .migration: ["type": "migration"]
        }
    }
}

extension QMPClient {
    /// QAPI `yank`: tears connections at once, whatever waits for them.
    /// - Parameter outOfBand: carried out even when QEMU's main loop hangs; needs a client connected with `enableOOB`.
    package func yank(_ instances: [YankInstance], outOfBand: Bool = false, deadline: Duration = defaultDeadline) async throws {
        let arguments: JSONValue = ["instances": .array(instances.map(\.json))]
        if outOfBand {
            try await executeOutOfBand("yank", arguments, deadline: deadline)
        } else {
            try await execute("yank", arguments, deadline: deadline)
        }
    }

    /// QAPI `query-yank`: what could be torn now, as QAPI's `YankInstance` objects.
    package func queryYank(deadline: Duration = defaultDeadline) async throws -> [JSONValue] {
        try await execute("query-yank", as: [JSONValue].self, deadline: deadline)
    }
}
