package import Fleet
import SQL

extension Store {
    /// Writes down that a running server is to be paused or resumed, raising its epoch, held by `owner` as an operation whose status stays
    /// `running`: whether it is paused says what is under way, so that whoever takes it over knows.
    /// Throws `busy` when it has an unfinished migration or an operation that another still holds, `wrongStatus`.
    package func beginPause(_ server: ServerID, _ isPaused: Bool, owner: String, leaseMS: Int64) async throws -> Server {
        try await write { transaction in
            let rows = try await transaction.query(
                """
                SELECT name, status, operation_owner, operation_until > \(dialect.now) AND operation_owner <> \(owner) AS held
                FROM servers WHERE id = \(server.value) \(dialect.lock)
                """)
            guard let row = rows.first else { throw Self.noServer(server.value) }
            let (name, present) = (try row.text("name"), try row.text("status"))
            try await requireNoMigration(of: server, named: name, in: transaction)
            if try row.optionalText("operation_owner") != nil, try row.flag("held") {
                throw StoreError(.busy, "Server \(name) has an operation under way. Wait until that is over.")
            }
            guard present == ServerStatus.running.rawValue else {
                throw StoreError(.wrongStatus, "Server \(name) is \(present); this needs it running.")
            }
            return try Server(
                only(
                    await transaction.query(
                        """
                        UPDATE servers SET paused = \(isPaused ? 1 : 0), epoch = epoch + 1, note_code = NULL, note_message = NULL,
                            operation_owner = \(owner), operation_until = \(dialect.now) + \(leaseMS)
                        WHERE id = \(server.value) RETURNING \(Server.columns)
                        """)))
        }
    }
}
