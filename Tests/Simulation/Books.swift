import Fleet
import SQL

/// What the store says as of its last commit. Follows it row by row, so that each commit is looked at and only what it changed is read.
struct Books {
    private struct Row: Equatable {
        var id: String
        var server: String
        var state: String
        var direction: String
        var attempt: Int64
        var target: String?
        var awaiting: String?
        var isFinished: Bool
        var holder: String?

        /// Nothing but the lease differs.
        func tellsTheSame(as other: Row) -> Bool {
            var leased = self
            leased.holder = other.holder
            return leased == other
        }
    }

    private struct Reserved {
        var migration: String
        var host: String
        var memory: Int64
    }

    private struct Placed {
        var id: String
        var host: String
        var memory: Int64
    }

    /// By what SQLite calls a row.
    private var migrations: [Int64: Row] = [:]
    private var places: [String: Int64] = [:]
    private var reservations: [Int64: Reserved] = [:]
    private var servers: [Int64: Placed] = [:]
    private var hosts: [String: (name: String, memory: Int64)] = [:]
    /// The state that the history of a migration ends with.
    private var told: [String: String] = [:]
    /// By server, where its last migration that came to `ready` has brought it.
    private var brought: [String: (migration: String, host: String)] = [:]

    typealias Flaw = (rule: String, what: String)

    /// - Parameters:
    ///   - writer: who has committed; nil is anybody who need not hold a migration.
    ///   - moved: told of each server that was moved, and where to.
    mutating func follow(
        _ database: MemoryDatabase, writer: String?, moved: (_ server: String, _ host: String) -> Void
    ) throws -> Flaw? {
        let touched = database.takeTouched()
        var affected: Set<String> = []
        var isRoomTouched = false
        var flaw: Flaw?
        func find(_ rule: String, _ what: String) { flaw = flaw ?? (rule, what) }
        for row in touched.hosts {
            guard let now = try database.run("SELECT id, name, memory_capacity FROM hosts WHERE rowid = \(row)").first else { continue }
            hosts[try now.text("id")] = (try now.text("name"), try now.optionalInteger("memory_capacity") ?? .max)
        }
        for row in touched.servers {
            let before = servers[row]
            guard let now = try database.run("SELECT id, host_id, memory FROM servers WHERE rowid = \(row)").first else {
                servers[row] = nil
                continue
            }
            let placed = Placed(id: try now.text("id"), host: try now.text("host_id"), memory: try now.integer("memory"))
            servers[row] = placed
            guard before?.host != placed.host || before?.memory != placed.memory else { continue }
            isRoomTouched = true
            if before != nil { moved(placed.id, hosts[placed.host]?.name ?? placed.host) }
        }
        for row in touched.transitions.sorted() {
            guard let now = try database.run("SELECT migration_id, to_state FROM transitions WHERE seq = \(row)").first else { continue }
            let migration = try now.text("migration_id")
            told[migration] = try now.text("to_state")
            affected.insert(migration)
        }
        for row in touched.reservations {
            if let before = reservations.removeValue(forKey: row) { affected.insert(before.migration) }
            isRoomTouched = true
            guard let now = try database.run("SELECT migration_id, host_id, memory FROM reservations WHERE rowid = \(row)").first else {
                continue
            }
            let reserved = Reserved(
                migration: try now.text("migration_id"), host: try now.text("host_id"), memory: try now.integer("memory"))
            reservations[row] = reserved
            affected.insert(reserved.migration)
        }
        for row in touched.steps {
            guard let now = try database.run("SELECT migration_id FROM steps WHERE rowid = \(row)").first else { continue }
            let migration = try now.text("migration_id")
            guard let writer, let holder = places[migration].flatMap({ migrations[$0] })?.holder, holder != writer else { continue }
            find("4", "\(writer) writes into the journal of \(migration), which \(holder) holds")
        }
        for row in touched.migrations {
            guard
                let now = try database.run(
                    """
                    SELECT id, server_id, state, direction, attempt, target_id, awaiting, finished_at IS NOT NULL AS finished, lease_owner
                    FROM migrations WHERE rowid = \(row)
                    """
                ).first
            else { continue }
            let migration = Row(
                id: try now.text("id"), server: try now.text("server_id"), state: try now.text("state"),
                direction: try now.text("direction"), attempt: try now.integer("attempt"), target: try now.optionalText("target_id"),
                awaiting: try now.optionalText("awaiting"), isFinished: try now.flag("finished"),
                holder: try now.optionalText("lease_owner"))
            let before = migrations.updateValue(migration, forKey: row)
            places[migration.id] = row
            affected.insert(migration.id)
            if migration.state == MigrationState.ready.rawValue, let target = migration.target,
                brought[migration.server].map({ $0.migration <= migration.id }) ?? true
            {
                brought[migration.server] = (migration.id, target)
            }
            if let before, let writer, before.holder != writer, !migration.tellsTheSame(as: before) {
                find("4", "\(writer) changes \(migration.id), which \(before.holder ?? "nobody") holds")
            }
        }
        for id in affected.sorted() {
            guard let migration = places[id].flatMap({ migrations[$0] }) else { continue }
            if let what = contradiction(migration) { find(what.rule, what.what) }
        }
        if isRoomTouched, let host = overbooked() { find("8", "more is promised than there is on \(host)") }
        if isRoomTouched {
            for server in servers.values {
                guard let there = brought[server.id], there.host != server.host else { continue }
                find("3", "\(server.id) is not where \(there.migration) has brought it")
            }
        }
        return flaw
    }

    private func contradiction(_ migration: Row) -> Flaw? {
        let (id, state) = (migration.id, migration.state)
        if told[id] != state { return ("3", "the history of \(id) does not end with \(state)") }
        if !migration.isFinished,
            migrations.values.contains(where: { $0.server == migration.server && !$0.isFinished && $0.id != id })
        {
            return ("1", "more than one unfinished migration of \(migration.server)")
        }
        let reserved = reservations.values.first { $0.migration == id }
        if let reserved, migration.isFinished || migration.target != reserved.host {
            return ("8", "a reservation of \(id), which has no use for it")
        }
        if reserved == nil, !migration.isFinished, ["syncing-disk", "syncing-memory", "switching"].contains(state) {
            return ("8", "\(id) is \(state) and has reserved nothing")
        }
        if let there = brought[migration.server], there.migration == id,
            let server = servers.values.first(where: { $0.id == migration.server }),
            server.host != there.host
        {
            return ("3", "\(server.id) is not where \(id) has brought it")
        }
        return nil
    }

    private func overbooked() -> String? {
        for (id, host) in hosts {
            let promised =
                servers.values.reduce(0) { $0 + ($1.host == id ? $1.memory : 0) }
                + reservations.values.reduce(0) { $0 + ($1.host == id ? $1.memory : 0) }
            if promised > host.memory { return host.name }
        }
        return nil
    }
}
