/// A node offered to others (QAPI `BlockExportInfo`).
package struct BlockExportInfo: Sendable, Hashable, Codable {
    package let id: String
    /// `nbd`, `vhost-user-blk`, …
    package let type: String
    package let nodeName: String
    /// It has been told to end and still has clients.
    package let shuttingDown: Bool

    private enum CodingKeys: String, CodingKey {
        case id, type
        case nodeName = "node-name"
        case shuttingDown = "shutting-down"
    }
}

/// What to do with the clients of an export that is to end (QAPI `BlockExportRemoveMode`).
package enum BlockExportRemoval: String, Sendable, Hashable, CaseIterable {
    /// Refuse while there is a client.
    case safe
    /// Cut the clients off.
    case hard
}

extension QMPClient {
    /// QAPI `nbd-server-start`. There is one NBD server in a QEMU.
    /// - Parameters:
    ///   - address: QAPI's `SocketAddressLegacy`: `["type": "inet", "data": ["host": "127.0.0.1", "port": "0"]]`,
    ///     `["type": "unix", "data": ["path": …]]`, or `["type": "fd", "data": ["str": name]]` with a listening descriptor given before by `sendDescriptor`.
    ///   - tlsAuthz: the id of an `authz` object that judges the clients' certificates.
    package func nbdServerStart(
        _ address: JSONValue, tlsCreds: String? = nil, tlsAuthz: String? = nil, deadline: Duration = defaultDeadline
    ) async throws {
        try await execute(
            "nbd-server-start",
            .members(["addr": address, "tls-creds": tlsCreds.map(JSONValue.string), "tls-authz": tlsAuthz.map(JSONValue.string)]),
            deadline: deadline)
    }

    /// QAPI `nbd-server-stop`: ends the server with all its NBD exports and closes its listener.
    ///
    /// QEMU 7.2.22 hangs for good in it, guest and all, when a client is connected that has not ended its handshake, and no yank helps. It drops such
    /// a client itself after ten seconds. So with a guest that matters: delete the exports, shut the listener down (a descriptor of ours), and leave the
    /// server be.
    package func nbdServerStop(deadline: Duration = defaultDeadline) async throws {
        try await execute("nbd-server-stop", deadline: deadline)
    }

    /// QAPI `block-export-add` of type `nbd`.
    /// - Parameter name: what NBD clients ask for; the node's name when nil.
    package func blockExportAdd(
        id: String, nodeName: String, name: String? = nil, writable: Bool = false, deadline: Duration = defaultDeadline
    ) async throws {
        try await execute(
            "block-export-add",
            .members([
                "type": "nbd", "id": .string(id), "node-name": .string(nodeName), "name": name.map(JSONValue.string),
                "writable": .bool(writable),
            ]),
            deadline: deadline)
    }

    /// QAPI `block-export-del`. Returns before the export is gone: `BLOCK_EXPORT_DELETED` or `queryBlockExports` tells.
    package func blockExportDel(_ id: String, mode: BlockExportRemoval = .safe, deadline: Duration = defaultDeadline) async throws {
        try await execute("block-export-del", ["id": .string(id), "mode": .string(mode.rawValue)], deadline: deadline)
    }

    /// QAPI `query-block-exports`.
    package func queryBlockExports(deadline: Duration = defaultDeadline) async throws -> [BlockExportInfo] {
        try await execute("query-block-exports", as: [BlockExportInfo].self, deadline: deadline)
    }
}
