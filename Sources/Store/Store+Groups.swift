package import Fleet
import SQL

extension Store {
    /// Throws `nameTaken`.
    package func createGroup(name: String, policy: ServerGroup.Policy) async throws -> ServerGroup {
        try await write { transaction in
            do {
                let rows = try await transaction.query(
                    """
                    INSERT INTO server_groups (id, name, policy, created_at)
                    VALUES (\(GroupID.unique().value), \(name), \(policy.rawValue), \(dialect.now)) RETURNING \(ServerGroup.columns)
                    """)
                return try ServerGroup(only(rows), members: [])
            } catch let error as SQLError where Rule.groupNameUnique.isBroken(by: error) {
                throw StoreError(.nameTaken, "There is a server group named \(name) already. Choose another name.", cause: error)
            }
        }
    }

    /// By name.
    package func groups() async throws -> [ServerGroup] {
        try await read { transaction in
            var groups: [ServerGroup] = []
            for row in try await transaction.query("SELECT \(ServerGroup.columns) FROM server_groups ORDER BY name") {
                groups.append(try await group(row, in: transaction))
            }
            return groups
        }
    }

    /// By id or name. Throws `notFound`.
    package func group(_ reference: String) async throws -> ServerGroup {
        try await read { try await group(reference, in: $0) }
    }

    /// Adding a member again changes nothing. Throws `notFound`.
    package func addToGroup(_ reference: String, server: ServerID) async throws -> ServerGroup {
        try await write { transaction in
            let id = try await group(reference, in: transaction).id
            guard try await !transaction.query("SELECT id FROM servers WHERE id = \(server.value)").isEmpty else {
                throw Self.noServer(server.value)
            }
            try await transaction.execute(
                """
                INSERT INTO server_group_members (group_id, server_id) VALUES (\(id.value), \(server.value)) ON CONFLICT DO NOTHING
                """)
            return try await group(id.value, in: transaction)
        }
    }

    /// Throws `notFound`, also when the server is no member.
    package func removeFromGroup(_ reference: String, server: ServerID) async throws -> ServerGroup {
        try await write { transaction in
            let found = try await group(reference, in: transaction)
            let changed = try await transaction.execute(
                "DELETE FROM server_group_members WHERE group_id = \(found.id.value) AND server_id = \(server.value)")
            guard changed == 1 else { throw StoreError(.notFound, "Server \(server) is not in the group \(found.name).") }
            return try await group(found.id.value, in: transaction)
        }
    }

    /// Its members stay where they are. Throws `notFound`.
    package func deleteGroup(_ reference: String) async throws {
        try await write { transaction in
            let id = try await group(reference, in: transaction).id
            try await transaction.execute("DELETE FROM server_groups WHERE id = \(id.value)")
        }
    }

    /// The other servers of every group that a server is in, with where they count.
    package func companions(of server: ServerID) async throws -> [GroupCompanion] {
        try await read { try await companions(of: server, in: $0) }
    }

    /// The members of a group as companions of a server that is not in it yet.
    package func companions(inGroup reference: String) async throws -> [GroupCompanion] {
        try await read { transaction in
            let id = try await group(reference, in: transaction).id
            return try await companions("g.id = \(id.value)", in: transaction)
        }
    }

    // MARK: for several queries

    func companions(of server: ServerID, in transaction: any SQLTransaction) async throws -> [GroupCompanion] {
        try await companions(transaction.query(companionsQuery(of: server)))
    }

    func companionsQuery(of server: ServerID) -> SQLStatement {
        companionsQuery(
            """
            o.server_id <> \(server.value)
                AND g.id IN (SELECT mine.group_id FROM server_group_members mine WHERE mine.server_id = \(server.value))
            """)
    }

    private func companions(_ condition: SQLStatement, in transaction: any SQLTransaction) async throws -> [GroupCompanion] {
        try await companions(transaction.query(companionsQuery(condition)))
    }

    private func companionsQuery(_ condition: SQLStatement) -> SQLStatement {
        """
        SELECT g.name AS group_name, g.policy, s.name, s.host_id, r.host_id AS target_id, m.id AS migration_id
        FROM server_groups g JOIN server_group_members o ON o.group_id = g.id JOIN servers s ON s.id = o.server_id
            LEFT JOIN migrations m ON m.server_id = s.id AND m.finished_at IS NULL
            LEFT JOIN reservations r ON r.migration_id = m.id
        WHERE \(condition) ORDER BY g.name, s.name
        """
    }

    func companions(_ rows: [SQLRow]) throws -> [GroupCompanion] {
        try rows.map { row in
            GroupCompanion(
                group: try row.text("group_name"), policy: try row.word("policy"), name: try row.text("name"),
                host: HostID(try row.text("host_id")), target: try row.optionalText("target_id").map { HostID($0) },
                isLeaving: try row.optionalText("migration_id") != nil)
        }
    }

    private func group(_ reference: String, in transaction: any SQLTransaction) async throws -> ServerGroup {
        let rows = try await transaction.query(
            "SELECT \(ServerGroup.columns) FROM server_groups WHERE id = \(reference) OR name = \(reference)")
        guard let row = try rows.first(where: { try $0.text("id") == reference }) ?? rows.first else {
            throw StoreError(.notFound, "There is no server group \(reference).")
        }
        return try await group(row, in: transaction)
    }

    private func group(_ row: SQLRow, in transaction: any SQLTransaction) async throws -> ServerGroup {
        let members = try await transaction.query(
            """
            SELECT s.id, s.name FROM server_group_members o JOIN servers s ON s.id = o.server_id
            WHERE o.group_id = \(try row.text("id")) ORDER BY s.name
            """
        ).map { ServerGroup.Member(server: ServerID(try $0.text("id")), name: try $0.text("name")) }
        return try ServerGroup(row, members: members)
    }
}

extension ServerGroup {
    static let columns: SQLStatement = "id, name, policy, created_at"

    init(_ row: SQLRow, members: [Member]) throws {
        self.init(
            id: GroupID(try row.text("id")), name: try row.text("name"), policy: try row.word("policy"), members: members,
            createdAt: try row.time("created_at"))
    }
}
