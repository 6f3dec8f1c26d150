package import Fleet
import SQL

/// What finished migrations took beside what grows with their bytes; nil as long as none has told. Milliseconds.
package struct Experience: Hashable, Sendable {
    /// From the acceptance to the first byte, and from the last one to `ready`.
    package var overheadMS: Int64?
    /// Of the blackout, all but the last pass over memory.
    package var switchMS: Int64?

    package init(overheadMS: Int64? = nil, switchMS: Int64? = nil) {
        self.overheadMS = overheadMS
        self.switchMS = switchMS
    }
}

extension Store {
    /// Medians over the last few migrations of that mode that were ready at their first attempt.
    package func experience(_ mode: Mode) async throws -> Experience {
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT m.created_at, m.finished_at, m.blackout,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'prepare-target') AS prepared_at,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'send-memory') AS sent_at
                FROM (
                    SELECT * FROM migrations WHERE mode = \(mode.rawValue) AND state = \(MigrationState.ready.rawValue) AND attempt = 1
                    ORDER BY id DESC LIMIT 9
                ) AS m
                """)
        }
        var overheads: [Int64] = []
        var switches: [Int64] = []
        for row in rows {
            let blackout = try row.optionalText("blackout").map { try JSON.value(Blackout.self, $0) }
            if let blackout { switches.append(max(0, blackout.totalUS - blackout.deviceStateUS) / 1000) }
            guard let prepared = try row.optionalInteger("prepared_at"), let sent = try row.optionalInteger("sent_at"),
                let finished = try row.optionalInteger("finished_at")
            else { continue }
            let standing = (blackout?.totalUS ?? 0) / 1000
            overheads.append(max(0, prepared - (try row.integer("created_at"))) + max(0, finished - sent - standing))
        }
        return Experience(overheadMS: overheads.median, switchMS: switches.median)
    }
}

extension [Int64] {
    fileprivate var median: Int64? { isEmpty ? nil : sorted()[count / 2] }
}
