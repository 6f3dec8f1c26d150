package import Fleet
import SQL

extension Store {
    /// All hosts with what is promised of each: the input of placement, in one consistent view. By name.
    package func hostLoads() async throws -> [HostLoad] { try await hostLoadsNow().loads }

    /// The same with the store's clock at that moment, by which alone a host is online or not.
    package func hostLoadsNow() async throws -> (loads: [HostLoad], now: Timestamp) {
        try await read { transaction in
            let rows = try await transaction.query(
                """
                SELECT \(Host.columns), \(dialect.now) AS now,
                    (SELECT COALESCE(SUM(s.vcpus), 0) FROM servers s WHERE s.host_id = hosts.id)
                        + (SELECT COALESCE(SUM(r.vcpus), 0) FROM reservations r WHERE r.host_id = hosts.id) AS vcpus_taken,
                    (SELECT COALESCE(SUM(s.memory), 0) FROM servers s WHERE s.host_id = hosts.id)
                        + (SELECT COALESCE(SUM(r.memory), 0) FROM reservations r WHERE r.host_id = hosts.id) AS memory_taken
                FROM hosts ORDER BY name
                """)
            let reserved = try await reservedBytes(in: transaction)
            let promised = try await promisedBytes(in: transaction)
            let inbound = try await counts("SELECT host_id AS host, COUNT(*) AS number FROM reservations GROUP BY host_id", in: transaction)
            let outbound = try await counts(
                """
                SELECT m.source_id AS host, COUNT(*) AS number FROM reservations r JOIN migrations m ON m.id = r.migration_id
                WHERE m.mode <> \(Mode.rescue.rawValue) GROUP BY m.source_id
                """, in: transaction)
            let failures = try await failures(in: transaction)
            let loads = try rows.map { row in
                let host = try Host(row)
                return HostLoad(
                    host: host, vcpusTaken: Int(try row.integer("vcpus_taken")), memoryTakenBytes: try row.integer("memory_taken"),
                    storageReservedBytes: reserved[host.id] ?? [:], storagePromisedBytes: promised[host.id] ?? [:],
                    inboundMigrations: inbound[host.id] ?? 0, outboundMigrations: outbound[host.id] ?? 0,
                    recentFailures: failures[host.id] ?? 0)
            }
            return (loads, try rows.first?.time("now") ?? .now)
        }
    }

    /// The store's clock.
    package func now() async throws -> Timestamp {
        try await read { try only(await $0.query("SELECT \(dialect.now) AS now")).time("now") }
    }

    /// How far back a failure counts against a host.
    package static let failureMemoryMS: Int64 = 3_600_000

    /// Reasons for which no host that should have been the target can be blamed.
    private static let notTheTargets: [Reason.Code] = [
        .cancelled, .guestStopped, .didNotConverge, .sourceLost, .localDisk, .hostNotDown, .invalidRequest, .noHost, .baseMissing,
        .timedOut, .historyPruned,
    ]

    /// Of each attempt the row that turned it counts, and none of those that tell of the way back.
    private func failures(in transaction: any SQLTransaction) async throws -> [HostID: Int] {
        try await counts(
            """
            SELECT t.target_id AS host, COUNT(*) AS number FROM transitions t
            WHERE t.at > \(dialect.now) - \(Self.failureMemoryMS) AND t.direction = \(Direction.rollback.rawValue)
                AND t.target_id IS NOT NULL AND t.reason_code IS NOT NULL
                AND t.reason_code NOT IN (\(list: Self.notTheTargets.map(\.value)))
                AND NOT EXISTS (
                    SELECT 1 FROM transitions e WHERE e.migration_id = t.migration_id AND e.attempt = t.attempt AND e.seq < t.seq
                        AND e.direction = \(Direction.rollback.rawValue))
            GROUP BY t.target_id
            """, in: transaction)
    }

    private func counts(_ query: SQLStatement, in transaction: any SQLTransaction) async throws -> [HostID: Int] {
        var counts: [HostID: Int] = [:]
        for row in try await transaction.query(query) { counts[HostID(try row.text("host"))] = Int(try row.integer("number")) }
        return counts
    }

    /// What others reserved on a shared storage counts on every host that sees it.
    private func reservedBytes(in transaction: any SQLTransaction) async throws -> [HostID: [String: Int64]] {
        var reserved: [HostID: [String: Int64]] = [:]
        let storages = try await transaction.query(
            """
            SELECT s.host_id, s.name, s.free - r.bytes AS reserved
            FROM storages s JOIN storage_rooms r ON r.host_id = s.host_id AND r.name = s.name
            WHERE r.bytes < s.free
            """)
        for row in storages {
            reserved[HostID(try row.text("host_id")), default: [:]][try row.text("name")] = try row.integer("reserved")
        }
        return reserved
    }

    private func promisedBytes(in transaction: any SQLTransaction) async throws -> [HostID: [String: Int64]] {
        var promised: [HostID: [String: Int64]] = [:]
        let rows = try await transaction.query(
            """
            SELECT s.host_id, d.storage, SUM(d.bytes) AS bytes FROM server_disks d JOIN servers s ON s.id = d.server_id
            GROUP BY s.host_id, d.storage
            """)
        for row in rows {
            promised[HostID(try row.text("host_id")), default: [:]][try row.text("storage")] = try row.integer("bytes")
        }
        return promised
    }
}
