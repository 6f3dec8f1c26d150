package import Fleet
import SQL

extension Store {
    /// Whether a server may be rescued now, as ``submitMigration(server:mode:options:maxAttempts:priority:actor:)`` will decide.
    ///
    /// A host that does not answer is not for that reason off: what is cut may be the network, and then its guests run on. So either its guard
    /// has proven that none does, see ``HostGuard``, which holds also should the agent answer again; or somebody must vouch for it, and an
    /// agent that answers contradicts whoever does.
    ///
    /// - Throws: ``StoreError`` `notFound`, `localDisk`, `hostNotDown`.
    package func checkRescue(of server: ServerID, options: MigrationOptions) async throws {
        try await read { try await requireRescuable(server, options, in: $0) }
    }

    func requireRescuable(_ server: ServerID, _ options: MigrationOptions, in transaction: any SQLTransaction) async throws {
        let rows = try await transaction.query(
            """
            SELECT s.name, s.description, h.id AS host_id, h.name AS host, h.healthy_until > \(dialect.now) AS online,
                h.guard_number, h.guard_confirmed
            FROM servers s JOIN hosts h ON h.id = s.host_id WHERE s.id = \(server.value)
            """)
        guard let row = rows.first else { throw Self.noServer(server.value) }
        let (name, host) = (try row.text("name"), try row.text("host"))
        let shared = Set(
            try await transaction.query(
                "SELECT name FROM storages WHERE host_id = \(try row.text("host_id")) AND kind = \(Storage.Kind.shared.rawValue)"
            ).map { try $0.text("name") })
        let description = try JSON.description(try row.text("description"))
        if let disk = description.disks.first(where: { !shared.contains($0.storage) }) {
            throw StoreError(
                .localDisk,
                "Disk \(disk.name) of server \(name) is on storage \(disk.storage), which is \(host)'s alone; a rescue needs every disk on shared storage. Bring \(host) back, or restore the server from a backup."
            )
        }
        if let lease = options.provenByLease {
            guard try row.integer("guard_number") == lease, try row.flag("guard_confirmed") else {
                throw StoreError(
                    .hostNotDown,
                    "Lease \(lease) of host \(host) of server \(name) was renewed or given up since, so that it proves nothing any more: the server stays where it is."
                )
            }
            return
        }
        guard try !row.flag("online") else {
            throw StoreError(
                .hostNotDown,
                "Host \(host) of server \(name) answers, so that it is not down; migrate the server live or cold, or switch \(host) off and wait until it is offline."
            )
        }
        guard options.confirmHostDown else {
            throw StoreError(
                .hostNotDown,
                "Host \(host) of server \(name) does not answer, which does not prove that it is off: its guests may run on. Make sure that it is off, and vouch for it with --confirm-host-down."
            )
        }
    }
}
