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

    /// Nil of a kind that is not known here.
    package init?(_ json: JSONValue) {
        switch json["type"]?.string {
        case "block-node":
            guard let name = json["node-name"]?.string else { return nil }
            self = .blockNode(name)
        case "chardev":
            guard let id = json["id"]?.string else { return nil }
            self = .chardev(id)
        case "migration": self = .migration
        default: return nil
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

    /// QAPI `query-yank`: what could be torn now. Out of band, see ``yank(_:outOfBand:deadline:)``.
    package func queryYank(deadline: Duration = defaultDeadline) async throws -> [YankInstance] {
        (try await executeOutOfBand("query-yank", deadline: deadline).array ?? []).compactMap(YankInstance.init)
    }
}
