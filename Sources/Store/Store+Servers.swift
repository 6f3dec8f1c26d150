package import Fleet
import SQL

/// Which servers a list shows.
package struct ServerFilter: Sendable {
    /// Part of a name or id.
    package var search: String?
    package var host: HostID?
    package var status: ServerStatus?
    /// Only those that are suspended, or only those that are not.
    package var isPaused: Bool?
    package init(search: String? = nil, host: HostID? = nil, status: ServerStatus? = nil, isPaused: Bool? = nil) {
        self.search = search
        self.host = host
        self.status = status
        self.isPaused = isPaused
    }
}

extension Store {
    /// Inserts a server in `deploying` under its first epoch, with the operation held by `owner`.
    ///
    /// - Parameter group: It is a member of this group from the beginning; where that forbids its host, it is `overbooked`.
    /// Throws `nameTaken`, `overbooked`.
    package func createServer(_ server: Server, owner: String, leaseMS: Int64, group: GroupID? = nil) async throws -> Server {
        let description = try JSON.text(server.description)
        return try await write { transaction in
            try await lockPlacement(in: transaction)
            try await requireRoom(
                on: server.host, vcpus: server.description.vcpus, memoryBytes: server.description.memoryBytes, in: transaction)
            do {
                let rows = try await transaction.query(
                    """
                    INSERT INTO servers (id, name, status, host_id, epoch, vcpus, memory, description, note_code, note_message,
                        operation_owner, operation_until, created_at)
                    VALUES (\(server.id.value), \(server.name), \(ServerStatus.deploying.rawValue), \(server.host.value),
                        \(Epoch.none.next.value), \(server.description.vcpus), \(server.description.memoryBytes), \(description),
                        \(server.note?.code.value), \(server.note?.message), \(owner), \(dialect.now) + \(leaseMS), \(dialect.now))
                    RETURNING \(Server.columns)
                    """)
                if let group {
                    try await transaction.execute(
                        "INSERT INTO server_group_members (group_id, server_id) VALUES (\(group.value), \(server.id.value))")
                    try await requireCompanions(of: server.id, allow: server.host, in: transaction)
                }
                return try Server(only(rows))
            } catch let error as SQLError where Rule.serverNameUnique.isBroken(by: error) {
                throw StoreError(.nameTaken, "There is a server named \(server.name) already. Choose another name.", cause: error)
            } catch let error as SQLError where Rule.serverIDUnique.isBroken(by: error) {
                throw StoreError(.nameTaken, "There is a server with the id \(server.id) already.", cause: error)
            }
        }
    }

    /// Newest first.
    package func servers(_ filter: ServerFilter) async throws -> [Server] {
        var conditions: [SQLStatement] = []
        if let search = filter.search {
            let escaped = search.lowercased().reduce(into: "") { text, character in
                if "%_~".contains(character) { text.append("~") }
                text.append(character)
            }
            conditions.append("(lower(name) LIKE \("%\(escaped)%") ESCAPE '~' OR id LIKE \("%\(escaped)%") ESCAPE '~')")
        }
        if let host = filter.host { conditions.append("host_id = \(host.value)") }
        if let status = filter.status { conditions.append("status = \(status.rawValue)") }
        if let isPaused = filter.isPaused { conditions.append("paused = \(isPaused ? 1 : 0)") }
        let query: SQLStatement = "SELECT \(Server.columns) FROM servers WHERE \(.all(conditions)) ORDER BY created_at DESC, id"
        return try await read { try await $0.query(query).map(Server.init) }
    }

    /// Takes the server into an operation's status (`starting`, `stopping`, `deleting`) from one of `from`, raising its epoch, held by `owner`.
    /// Throws `busy` when it has an unfinished migration or an operation that another still holds, `wrongStatus`.
    package func beginOperation(
        _ server: ServerID, _ status: ServerStatus, from: Set<ServerStatus>, owner: String, leaseMS: Int64
    ) async throws -> Server {
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
                throw StoreError(.busy, "Server \(name) is \(present). Wait until that is over.")
            }
            guard from.contains(where: { $0.rawValue == present }) else {
                let needed = from.map(\.rawValue).sorted().joined(separator: " or ")
                throw StoreError(.wrongStatus, "Server \(name) is \(present); this needs it \(needed).")
            }
            return try Server(
                only(
                    await transaction.query(
                        """
                        UPDATE servers SET status = \(status.rawValue), epoch = epoch + 1, note_code = NULL, note_message = NULL,
                            operation_owner = \(owner), operation_until = \(dialect.now) + \(leaseMS)
                        WHERE id = \(server.value) RETURNING \(Server.columns)
                        """)))
        }
    }

    /// Operations whose holder died (its lease ended): taken over, each under a raised epoch.
    package func claimOperations(owner: String, leaseMS: Int64, limit: Int) async throws -> [Server] {
        let free: SQLStatement = """
            SELECT id FROM servers WHERE operation_owner IS NOT NULL AND operation_until <= \(dialect.now)
            ORDER BY operation_until, id LIMIT \(max(0, limit))
            """
        guard try await read({ try await !$0.query(free).isEmpty }) else { return [] }
        return try await write { transaction in
            let ids = try await transaction.query("\(free) \(dialect.lockFree)").map { try $0.text("id") }
            return try await transaction.query(
                """
                UPDATE servers SET epoch = epoch + 1, operation_owner = \(owner), operation_until = \(dialect.now) + \(leaseMS)
                WHERE id IN (\(list: ids)) RETURNING \(Server.columns)
                """
            ).map(Server.init)
        }
    }

    /// Goes on holding an operation, for `leaseMS` from now. Throws `superseded`.
    package func renewOperation(_ server: ServerID, epoch: Epoch, leaseMS: Int64) async throws {
        try await write { transaction in
            let changed = try await transaction.execute(
                """
                UPDATE servers SET operation_until = \(dialect.now) + \(leaseMS)
                WHERE id = \(server.value) AND epoch = \(epoch.value) AND operation_owner IS NOT NULL
                """)
            guard changed == 1 else { throw try await operationOver(server, epoch, in: transaction) }
        }
    }

    /// Keeps what the agent made of the description (versions pinned, sizes measured) while the operation under this epoch goes on.
    /// Throws `superseded`, and `overbooked` when the host has not the room for what the server grew by.
    package func updateDescription(_ server: ServerID, epoch: Epoch, _ description: GuestDescription) async throws {
        let text = try JSON.text(description)
        try await write { transaction in
            let rows = try await transaction.query(
                """
                SELECT host_id, vcpus, memory FROM servers
                WHERE id = \(server.value) AND epoch = \(epoch.value) AND operation_owner IS NOT NULL \(dialect.lock)
                """)
            guard let row = rows.first else { throw try await operationOver(server, epoch, in: transaction) }
            try await lockPlacement(in: transaction)
            try await requireRoom(
                on: HostID(try row.text("host_id")), vcpus: max(0, description.vcpus - Int(try row.integer("vcpus"))),
                memoryBytes: max(0, description.memoryBytes - (try row.integer("memory"))), in: transaction)
            try await transaction.execute(
                """
                UPDATE servers SET description = \(text), vcpus = \(description.vcpus), memory = \(description.memoryBytes)
                WHERE id = \(server.value)
                """)
        }
    }

    /// Ends an operation: the server's status, and a note where it went wrong. Throws `superseded`.
    /// - Parameter isPaused: whether it stands still from now on; as before when nil.
    package func finishOperation(
        _ server: ServerID, epoch: Epoch, status: ServerStatus, isPaused: Bool? = nil, note: Reason?
    ) async throws {
        try await write { transaction in
            let changed = try await transaction.execute(
                """
                UPDATE servers SET status = \(status.rawValue), paused = COALESCE(\(isPaused.map { $0 ? 1 : 0 }), paused),
                    note_code = \(note?.code.value), note_message = \(note?.message), operation_owner = NULL, operation_until = NULL
                WHERE id = \(server.value) AND epoch = \(epoch.value) AND operation_owner IS NOT NULL
                """)
            guard changed == 1 else { throw try await operationOver(server, epoch, in: transaction) }
        }
    }

    /// Ends `deleting` or a failed `deploying`: the server's row goes; migrations and history stay. Throws `superseded`.
    package func removeServer(_ server: ServerID, epoch: Epoch) async throws {
        try await write { transaction in
            let changed = try await transaction.execute(
                """
                DELETE FROM servers WHERE id = \(server.value) AND epoch = \(epoch.value)
                    AND status IN (\(list: [ServerStatus.deleting.rawValue, ServerStatus.deploying.rawValue]))
                """)
            guard changed == 1 else { throw try await operationOver(server, epoch, in: transaction) }
        }
    }

    /// Corrects `running`/`ready` and whether it is paused after what an agent saw (guest powered itself off); changes nothing while a migration
    /// or an operation is under way.
    package func observeGuest(
        _ server: ServerID, epoch: Epoch, status: ServerStatus, isPaused: Bool = false, note: Reason?
    ) async throws {
        try await write { transaction in
            try await transaction.execute(
                """
                UPDATE servers SET status = \(status.rawValue), paused = \(isPaused ? 1 : 0), note_code = \(note?.code.value),
                    note_message = \(note?.message)
                WHERE id = \(server.value) AND epoch = \(epoch.value) AND operation_owner IS NULL
                    AND status IN (\(list: [ServerStatus.running.rawValue, ServerStatus.ready.rawValue]))
                    AND NOT EXISTS (SELECT 1 FROM migrations m WHERE m.server_id = servers.id AND m.finished_at IS NULL)
                    AND (status <> \(status.rawValue) OR paused <> \(isPaused ? 1 : 0) OR note_code IS DISTINCT FROM \(note?.code.value)
                        OR note_message IS DISTINCT FROM \(note?.message))
                """)
        }
    }

    // MARK: for several queries

    static func noServer(_ reference: String) -> StoreError {
        StoreError(.notFound, "There is no server \(reference).")
    }

    func requireNoMigration(of server: ServerID, named name: String, in transaction: any SQLTransaction) async throws {
        let rows = try await transaction.query(
            "SELECT id FROM migrations WHERE server_id = \(server.value) AND finished_at IS NULL")
        if let row = rows.first {
            throw StoreError(.busy, "Server \(name) has an unfinished migration, \(try row.text("id")). Wait for its end, or cancel it.")
        }
    }

    /// Throws `overbooked` when a host has not so much left. The database's own rules say the same, without the figures.
    func requireRoom(on host: HostID, vcpus: Int, memoryBytes: Int64, in transaction: any SQLTransaction) async throws {
        try requireRoom(on: host, vcpus: vcpus, memoryBytes: memoryBytes, await transaction.queries(roomQueries(of: host))[...])
    }

    /// What ``requireRoom(on:vcpus:memoryBytes:_:)`` is shown the rows of.
    func roomQueries(of host: HostID) -> [SQLStatement] {
        [
            "SELECT name, vcpus_capacity, memory_capacity FROM hosts WHERE id = \(host.value) \(dialect.lock)",
            "SELECT vcpus, memory FROM host_rooms WHERE host_id = \(host.value)",
        ]
    }

    func requireRoom(on host: HostID, vcpus: Int, memoryBytes: Int64, _ rows: ArraySlice<[SQLRow]>) throws {
        guard let row = rows.first?.first else { throw Self.noHost(host.value) }
        let name = try row.text("name")
        guard try row.optionalInteger("vcpus_capacity") != nil else {
            throw StoreError(
                .overbooked, "Host \(name) has not told yet what it has; nothing can be placed on it before its agent answers.")
        }
        let room = try only(rows.dropFirst().first ?? [])
        let (vcpusLeft, memoryLeft) = (try room.integer("vcpus"), try room.integer("memory"))
        guard vcpusLeft >= Int64(vcpus), memoryLeft >= memoryBytes else {
            throw StoreError(
                .overbooked,
                "Host \(name) has \(max(0, vcpusLeft)) vCPUs and \(max(0, memoryLeft) >> 20) MiB of memory left to promise; \(vcpus) vCPUs and \(memoryBytes >> 20) MiB are needed."
            )
        }
    }

    /// The row of a statement that always has one.
    func only(_ rows: [SQLRow]) throws -> SQLRow {
        guard let row = rows.first else { throw SQLError(.statement, "a statement that always returns a row returned none") }
        return row
    }

    private func operationOver(_ server: ServerID, _ epoch: Epoch, in transaction: any SQLTransaction) async throws -> StoreError {
        let rows = try await transaction.query("SELECT name, status, epoch FROM servers WHERE id = \(server.value)")
        guard let row = rows.first else { return StoreError(.superseded, "Server \(server) is gone.") }
        return StoreError(
            .superseded,
            "Server \(try row.text("name")) is \(try row.text("status")) under epoch \(try row.integer("epoch")); the operation begun under epoch \(epoch) is over."
        )
    }
}

extension Server {
    static let columns: SQLStatement = "id, name, status, paused, host_id, epoch, description, note_code, note_message, created_at"

    init(_ row: SQLRow) throws {
        self.init(
            id: ServerID(try row.text("id")), name: try row.text("name"), status: try row.word("status"),
            isPaused: try row.flag("paused"), host: HostID(try row.text("host_id")), epoch: Epoch(try row.integer("epoch")),
            description: try JSON.description(try row.text("description")),
            note: try row.reason("note_code", "note_message"),
            createdAt: Timestamp(milliseconds: try row.integer("created_at")))
    }
}
