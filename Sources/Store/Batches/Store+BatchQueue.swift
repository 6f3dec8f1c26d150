import Fleet
import SQL

/// A batch of which something may begin, as far as the batch is concerned.
struct OpenBatch {
    var id: String
    var running: Int
    var maxParallel: Int?
    /// Milliseconds since 1970; nothing begins before.
    var startAt: Int64?
    var isRescue: Bool
    /// The only target that all of it may go to.
    var target: String?

    static func columns(_ dialect: Dialect) -> SQLStatement {
        """
        id, running, max_parallel, start_at, mode, \(dialect.field("preferHost", of: "live_options")) AS live_target,
            \(dialect.field("preferHost", of: "cold_options")) AS cold_target
        """
    }

    /// Of a batch's row: something of it may begin, once its time has come.
    static let takesMore: SQLStatement = """
        finished_at IS NULL AND paused_by IS NULL AND held_code IS NULL AND cancel_requested = 0
            AND (max_parallel IS NULL OR running < max_parallel)
        """

    init(_ row: SQLRow) throws {
        id = try row.text("id")
        running = Int(try row.integer("running"))
        maxParallel = try row.optionalInteger("max_parallel").map { Int($0) }
        startAt = try row.optionalInteger("start_at")
        let mode = try row.optionalText("mode")
        isRescue = mode == Mode.rescue.rawValue
        let (live, cold) = (try row.optionalText("live_target"), try row.optionalText("cold_target"))
        switch mode {
        case Mode.live.rawValue: target = live
        case nil where live != cold: target = nil
        default: target = cold
        }
    }
}

/// What waits in batches. However many wait, and whatever they wait for: read is what the hosts that they leave come to, not each of them.
extension Store {
    /// Of a migration's row: it waits in the queue for its beginning.
    private static let waits: SQLStatement = "claimable = 1 AND admitted = 0 AND cancel_requested = 0"
    /// So many hosts are asked about by one statement.
    private static let hostsAtOnce = 100

    /// When the first of those becomes due whose hosts have slots for it, milliseconds from the store's now; nil when none does.
    func batchDue(in transaction: any SQLTransaction) async throws -> Int64? {
        let open = try await transaction.query(
            "SELECT \(OpenBatch.columns(dialect)), \(dialect.now) AS now FROM batches WHERE \(OpenBatch.takesMore)")
        guard let now = try open.first?.integer("now") else { return nil }
        let slots = try await hostSlots(in: transaction)
        var first: Int64?
        for batch in try open.map(OpenBatch.init) {
            let unplaced = try await unplaced(of: batch, in: transaction)
            for head in try await heads(of: batch, in: transaction)
            where slots.places(from: head.source, to: batch.target, unplacedThere: unplaced, isRescue: batch.isRescue) > 0 {
                let due = max(head.due, batch.startAt ?? 0)
                first = min(first ?? due, due)
            }
        }
        return first.map { $0 - now }
    }

    /// What of a batch could begin now, best first, at most so many of them.
    func stream(
        of batch: OpenBatch, atMost limit: Int, _ slots: HostSlots, at now: Int64, in transaction: any SQLTransaction
    ) async throws -> Shares.Stream {
        let free = min(limit, batch.maxParallel.map { $0 - batch.running } ?? limit)
        let unplaced = try await unplaced(of: batch, in: transaction)
        var stream = Shares.Stream(
            batch: batch.id, running: batch.running, waiting: [], target: batch.target, unplaced: unplaced, isRescue: batch.isRescue)
        guard free > 0 else { return stream }
        // The best come from the hosts whose first one is best.
        let sources = try await heads(of: batch, in: transaction).filter { $0.due <= now }
            .map { (head: $0, free: slots.places(from: $0.source, to: batch.target, unplacedThere: unplaced, isRescue: batch.isRescue)) }
            .filter { $0.free > 0 }
            .sorted { ($0.head.due, $0.head.first) < ($1.head.due, $1.head.first) }
            .prefix(free)
        var found: [(due: Int64, waiting: Shares.Waiting)] = []
        for start in stride(from: 0, to: sources.count, by: Self.hostsAtOnce) {
            let parts = sources[start..<min(start + Self.hostsAtOnce, sources.count)].map { source -> SQLStatement in
                """
                SELECT * FROM (SELECT id, source_id, due_at FROM migrations
                    WHERE batch_id = \(batch.id) AND source_id = \(source.head.source) AND \(Self.waits) AND due_at <= \(now)
                    ORDER BY due_at, id LIMIT \(min(free, source.free))) AS waiting
                """
            }
            let rows = try await transaction.query(SQLStatement(parts: Array(parts.map(\.parts).joined(separator: [.text(" UNION ALL ")]))))
            found += try rows.map {
                (try $0.integer("due_at"), Shares.Waiting(id: try $0.text("id"), source: try $0.text("source_id")))
            }
        }
        stream.waiting = found.sorted { ($0.due, $0.waiting.id) < ($1.due, $1.waiting.id) }.prefix(free).map(\.waiting)
        return stream
    }

    /// Of each host that something of a batch waits on, the first.
    private func heads(
        of batch: OpenBatch, in transaction: any SQLTransaction
    ) async throws -> [(source: String, due: Int64, first: String)] {
        let mine: SQLStatement = "m.batch_id = \(batch.id) AND m.claimable = 1 AND m.admitted = 0 AND m.cancel_requested = 0"
        let first: SQLStatement = "m.source_id = sources.id ORDER BY m.due_at, m.id LIMIT 1"
        return try await transaction.query(
            """
            WITH RECURSIVE sources (id) AS (
                SELECT (SELECT MIN(m.source_id) FROM migrations m WHERE \(mine))
                UNION ALL
                SELECT (SELECT MIN(m.source_id) FROM migrations m WHERE \(mine) AND m.source_id > sources.id)
                FROM sources WHERE sources.id IS NOT NULL
            )
            SELECT id AS source, (SELECT m.due_at FROM migrations m WHERE \(mine) AND \(first)) AS due,
                (SELECT m.id FROM migrations m WHERE \(mine) AND \(first)) AS first
            FROM sources WHERE id IS NOT NULL
            """
        ).map { (try $0.text("source"), try $0.integer("due"), try $0.text("first")) }
    }

    private func unplaced(of batch: OpenBatch, in transaction: any SQLTransaction) async throws -> Int {
        guard batch.target != nil, batch.running > 0 else { return 0 }
        let rows = try await transaction.query(
            """
            SELECT COUNT(*) AS n FROM migrations m WHERE m.admitted = 1 AND m.batch_id = \(batch.id)
                AND NOT EXISTS (SELECT 1 FROM reservations r WHERE r.migration_id = m.id)
            """)
        return Int(try only(rows).integer("n"))
    }

    func hostSlots(in transaction: any SQLTransaction) async throws -> HostSlots {
        let rows = try await transaction.query(
            """
            SELECT h.id, h.outbound_slots - COALESCE(l.number, 0) AS outbound, h.inbound_slots - COALESCE(c.number, 0) AS inbound,
                CASE WHEN h.enabled = 1 AND h.maintenance = 0 AND h.healthy_until > \(dialect.now) THEN 1 ELSE 0 END AS is_target
            FROM hosts h
                LEFT JOIN (SELECT source_id, COUNT(*) AS number FROM migrations WHERE admitted = 1 AND mode <> \(Mode.rescue.rawValue)
                    GROUP BY source_id) AS l ON l.source_id = h.id
                LEFT JOIN (SELECT host_id, COUNT(*) AS number FROM reservations GROUP BY host_id) AS c ON c.host_id = h.id
            """)
        let row = try only(
            await transaction.query(
                """
                SELECT (SELECT COUNT(*) FROM migrations WHERE admitted = 1) - (SELECT COUNT(*) FROM reservations) AS unplaced
                """))
        let hosts = try rows.map { row in
            let host = HostSlots.Host(
                outbound: Int(try row.integer("outbound")), inbound: Int(try row.integer("inbound")), isTarget: try row.flag("is_target"))
            return (try row.text("id"), host)
        }
        return HostSlots(Dictionary(uniqueKeysWithValues: hosts), unplaced: max(0, Int(try row.integer("unplaced"))))
    }

    /// Has those of a stream begin that nobody else has taken since they were looked at.
    func admit(_ ids: [String], of batch: String?, in transaction: any SQLTransaction) async throws -> [String] {
        guard !ids.isEmpty else { return [] }
        let free = Set(
            try await transaction.query("SELECT id FROM migrations WHERE id IN (\(list: ids)) AND \(Self.waits) \(dialect.lockFree)")
                .map { try $0.text("id") })
        let begun = ids.filter(free.contains)
        guard !begun.isEmpty else { return [] }
        try await transaction.execute("UPDATE migrations SET admitted = 1 WHERE id IN (\(list: begun))")
        if let batch { try await transaction.execute("UPDATE batches SET running = running + \(begun.count) WHERE id = \(batch)") }
        return begun
    }
}
