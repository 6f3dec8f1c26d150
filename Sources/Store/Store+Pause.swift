package import Fleet
import SQL

extension Store {
    /// Raises a running server's epoch, so that the order to pause or resume its guest is newer than all before it. What the agent answers is
    /// then kept by ``observeGuest(_:epoch:status:isPaused:note:)``; where nobody does that, whoever looks at the host next does.
    /// Throws `busy` when it has an unfinished migration or an operation, `wrongStatus`.
    package func beginPause(_ server: ServerID) async throws -> Server {
        try await write { transaction in
            let rows = try await transaction.query(
                "SELECT name, status, operation_owner FROM servers WHERE id = \(server.value) \(dialect.lock)")
            guard let row = rows.first else { throw Self.noServer(server.value) }
            let (name, present) = (try row.text("name"), try row.text("status"))
            try await requireNoMigration(of: server, named: name, in: transaction)
            if try row.optionalText("operation_owner") != nil {
                throw StoreError(.busy, "Server \(name) is \(present). Wait until that is over.")
            }
            guard present == ServerStatus.running.rawValue else {
                throw StoreError(.wrongStatus, "Server \(name) is \(present); this needs it running.")
            }
            return try Server(
                only(
                    await transaction.query(
                        "UPDATE servers SET epoch = epoch + 1 WHERE id = \(server.value) RETURNING \(Server.columns)")))
        }
    }
}
