package import Fleet
import SQL

extension Store {
    /// Adds a host, or moves the host of that name to another agent address. What its guard had confirmed there counts no more.
    package func registerHost(name: String, agentURL: String) async throws -> Host {
        try await write { transaction in
            let rows = try await transaction.query(
                """
                INSERT INTO hosts (id, name, agent_url, enabled, healthy_until, created_at)
                VALUES (\(HostID.unique().value), \(name), \(agentURL), 1, 0, \(dialect.now))
                ON CONFLICT (name) DO UPDATE SET agent_url = excluded.agent_url,
                    guard_confirmed = CASE WHEN hosts.agent_url = excluded.agent_url THEN hosts.guard_confirmed ELSE 0 END
                RETURNING \(Host.columns)
                """)
            return try Host(only(rows))
        }
    }

    /// In the order of their names.
    package func hosts() async throws -> [Host] {
        try await read { try await $0.query("SELECT \(Host.columns) FROM hosts ORDER BY name").map(Host.init) }
    }

    /// Likewise, with the moment of the store's clock at which they were read: by that alone can be told which of them are online.
    package func hostsNow() async throws -> (hosts: [Host], now: Timestamp) {
        try await read { transaction in
            let now = try only(await transaction.query("SELECT \(dialect.now) AS now")).time("now")
            return (try await transaction.query("SELECT \(Host.columns) FROM hosts ORDER BY name").map(Host.init), now)
        }
    }

    package func setHostEnabled(_ host: HostID, _ enabled: Bool) async throws -> Host {
        try await write { transaction in
            let rows = try await transaction.query(
                "UPDATE hosts SET enabled = \(enabled) WHERE id = \(host.value) RETURNING \(Host.columns)")
            guard let row = rows.first else { throw Self.noHost(host.value) }
            return try Host(row)
        }
    }

    package func setHostMaintenance(_ host: HostID, _ maintenance: Bool) async throws -> Host {
        try await write { transaction in
            let rows = try await transaction.query(
                "UPDATE hosts SET maintenance = \(maintenance) WHERE id = \(host.value) RETURNING \(Host.columns)")
            guard let row = rows.first else { throw Self.noHost(host.value) }
            return try Host(row)
        }
    }

    /// How much of a host may be promised, and how many migrations it may carry at once; nil leaves what it is. What is promised already
    /// stays so also where it is more than that.
    package func setHostLimits(
        _ host: HostID, vcpus: Double? = nil, memory: Double? = nil, inbound: Int? = nil, outbound: Int? = nil
    ) async throws -> Host {
        try await write { transaction in
            let rows = try await transaction.query(
                """
                UPDATE hosts SET vcpus_overcommit = COALESCE(\(vcpus), vcpus_overcommit),
                    memory_overcommit = COALESCE(\(memory), memory_overcommit), inbound_slots = COALESCE(\(inbound), inbound_slots),
                    outbound_slots = COALESCE(\(outbound), outbound_slots)
                WHERE id = \(host.value) RETURNING \(Host.columns)
                """)
            guard let row = rows.first else { throw Self.noHost(host.value) }
            let host = try Host(row)
            if host.facts != nil {
                try await transaction.execute(
                    """
                    UPDATE hosts SET vcpus_capacity = \(host.vcpusCapacity), memory_capacity = \(host.memoryCapacityBytes)
                    WHERE id = \(host.id.value)
                    """)
            }
            return host
        }
    }

    /// What an agent just told, and how long (milliseconds from the store's now) it proves the host alive.
    ///
    /// - Parameter leaseMS: how long the host's marked guests may run from the moment at which it told its clock.
    /// - Returns: what the host's guard is to be told, which stands in the store by now; nil when there is nothing to tell.
    @discardableResult
    package func recordHealth(
        of host: HostID, facts: HostFacts, validForMS: Int64, leaseMS: Int64 = GuardTiming.standardLeaseMS
    ) async throws -> GuardOrder? {
        // A clock that moves would have each row differ from the last.
        var kept = facts
        kept.boot = nil
        let text = try JSON.text(kept)
        return try await write { transaction in
            let rows = try await transaction.query("SELECT \(Host.columns) FROM hosts WHERE id = \(host.value) \(dialect.lock)")
            guard let row = rows.first else { throw Self.noHost(host.value) }
            let known = try Host(row)
            let capacity = known.overcommit
            try await transaction.execute(
                """
                UPDATE hosts SET facts = \(text), vcpus_capacity = \(capacity.vcpus(of: facts)),
                    memory_capacity = \(capacity.memoryBytes(of: facts)), healthy_until = \(dialect.now) + \(validForMS), down_note = NULL
                WHERE id = \(host.value)
                """)
            for storage in facts.storages {
                try await transaction.execute(
                    """
                    INSERT INTO storages (host_id, name, kind, capacity, free)
                    VALUES (\(host.value), \(storage.name), \(storage.kind.rawValue), \(storage.capacityBytes), \(storage.freeBytes))
                    ON CONFLICT (host_id, name) DO UPDATE
                    SET kind = excluded.kind, capacity = excluded.capacity, free = excluded.free
                    """)
            }
            try await transaction.execute(
                "DELETE FROM storages WHERE host_id = \(host.value) AND \(notNamed(facts.storages.map(\.name)))")
            for network in facts.networks {
                try await transaction.execute(
                    """
                    INSERT INTO networks (host_id, name, kind) VALUES (\(host.value), \(network.name), \(network.kind.rawValue))
                    ON CONFLICT (host_id, name) DO UPDATE SET kind = excluded.kind
                    """)
            }
            try await transaction.execute(
                "DELETE FROM networks WHERE host_id = \(host.value) AND \(notNamed(facts.networks.map(\.name)))")
            return try await guardOrder(for: known, facts, leaseMS: leaseMS, in: transaction)
        }
    }

    private func notNamed(_ names: [String]) -> SQLStatement {
        names.isEmpty ? "1 = 1" : "name NOT IN (\(list: names))"
    }

    static func noHost(_ reference: String) -> StoreError {
        StoreError(.notFound, "There is no host \(reference).")
    }
}

extension Host {
    static let columns: SQLStatement = """
        id, name, agent_url, enabled, maintenance, vcpus_overcommit, memory_overcommit, inbound_slots, outbound_slots, healthy_until,
        auto_migrate_on_host_down, auto_migrate_on_host_shutdown, guard_number, guard_confirmed, guard_lease_ms, down_note, facts
        """

    init(_ row: SQLRow) throws {
        self.init(
            id: HostID(try row.text("id")), name: try row.text("name"), agentURL: try row.text("agent_url"),
            enabled: try row.flag("enabled"), maintenance: try row.flag("maintenance"),
            overcommit: Overcommit(vcpus: try row.real("vcpus_overcommit"), memory: try row.real("memory_overcommit")),
            slots: MigrationSlots(inbound: Int(try row.integer("inbound_slots")), outbound: Int(try row.integer("outbound_slots"))),
            healthyUntil: Timestamp(milliseconds: try row.integer("healthy_until")),
            autoMigration: AutoMigration(
                onHostDown: try row.flag("auto_migrate_on_host_down"), onHostShutdown: try row.flag("auto_migrate_on_host_shutdown")),
            guardian: HostGuard(
                number: try row.integer("guard_number"), isConfirmed: try row.flag("guard_confirmed"),
                leaseMS: try row.integer("guard_lease_ms")),
            downNote: try row.optionalText("down_note"),
            facts: try row.optionalText("facts").map { try JSON.facts($0) })
    }
}
