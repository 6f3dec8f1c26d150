import Fleet
import SQL
import Store

extension BatchDraft {
    static func sample(
        _ servers: [String], name: String = "b", token: String? = nil, digest: String? = nil, mode: Mode? = nil, priority: Int = 0,
        maxParallel: Int? = nil, maxFailures: FailureLimit? = nil, startAt: Timestamp? = nil, skipsInvalid: Bool = false
    ) -> BatchDraft {
        BatchDraft(
            name: name, actor: "ada", token: token, digest: digest ?? servers.joined(separator: " "), servers: servers, mode: mode,
            priority: priority, maxParallel: maxParallel, maxFailures: maxFailures, startAt: startAt, skipsInvalid: skipsInvalid)
    }
}

extension Store {
    /// Running servers of these names.
    func addServers(_ names: [String], on host: Host) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for name in names { group.addTask { _ = try await self.addServer(name, on: host) } }
            try await group.waitForAll()
        }
    }

    /// Running servers `s1` to `sN`, without any that can be asked for a description, a hundred to a host: what is promised of a host is added
    /// up for each of its servers.
    func addManyServers(_ count: Int) async throws {
        @Sendable func numbers(_ last: Int) -> SQLStatement {
            "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < \(last - 1))"
        }
        try await database.write { transaction in
            try await transaction.execute(
                """
                INSERT INTO hosts (id, name, agent_url, enabled, healthy_until, vcpus_capacity, memory_capacity, facts, created_at)
                \(numbers((count + 99) / 100)) SELECT 'host-' || n, 'host' || n, 'https://h', 1, 0, 1000, 1000, '{}', 0 FROM numbers
                """)
            try await transaction.execute(
                """
                INSERT INTO servers (id, name, status, host_id, epoch, vcpus, memory, description, created_at)
                \(numbers(count)) SELECT 'server-' || (n + 1), 's' || (n + 1), 'running', 'host-' || (n / 100), 1, 1, 1, '{"disks":[]}', 0
                FROM numbers
                """)
        }
    }

    func claims(_ limit: Int, worker: String = "w1", leaseMS: Int64 = 60_000) async throws -> [Migration] {
        try await claimMigrations(worker: worker, leaseMS: leaseMS, limit: limit)
    }

    /// The names of the servers of migrations.
    func names(_ migrations: [Migration]) async throws -> [String] {
        let names = try await serverNames(Set(migrations.map(\.server)))
        return migrations.map { names[$0.server] ?? "" }
    }

    /// Ends a claimed migration before it has touched any host.
    @discardableResult
    func endEarly(_ migration: Migration, worker: String = "w1", _ code: Reason.Code = .noHost) async throws -> Migration {
        var migration = migration
        if migration.state == .pending { migration = try await advance(migration, to: .scheduling, worker: worker) }
        return try await advance(migration, to: .failed, worker: worker) { change in
            change.migration.reason = Reason(code, "It did not go.")
            change.release = true
            change.serverStatus = .running
        }
    }

    /// What the counts of a batch must be by its migrations: running, ready, failed, cancelled.
    func counted(_ batch: BatchID) async throws -> [Int64] {
        let rows = try await database.read { transaction in
            try await transaction.query(
                """
                SELECT COALESCE(SUM(admitted), 0) AS running, COUNT(CASE WHEN state = 'ready' THEN 1 END) AS ready,
                    COUNT(CASE WHEN state = 'failed' AND reason_code <> 'cancelled' THEN 1 END) AS failed,
                    COUNT(CASE WHEN state = 'failed' AND reason_code = 'cancelled' THEN 1 END) AS cancelled
                FROM migrations WHERE batch_id = \(batch.value)
                """)
        }
        guard let row = rows.first else { return [] }
        return try ["running", "ready", "failed", "cancelled"].map { try row.integer($0) }
    }
}

extension Batch {
    var counted: [Int64] { [running, ready, failed, cancelled].map { Int64($0) } }
}

/// How long it took.
func timed(_ body: () async throws -> Void) async throws -> Duration {
    let start = ContinuousClock.now
    try await body()
    return ContinuousClock.now - start
}
