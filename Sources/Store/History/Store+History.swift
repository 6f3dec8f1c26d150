package import Fleet
import SQL

extension Store {
    /// Rows of the history by time, newest or oldest first.
    ///
    /// - Parameter after: the sequence of the last row of the page before; the first page when nil.
    package func history(
        _ filter: HistoryFilter, newestFirst: Bool = true, after: Int64? = nil, limit: Int
    ) async throws -> [Transition] {
        var conditions: [SQLStatement] = []
        if let server = filter.server { conditions.append("server_id = \(server.value)") }
        if let migration = filter.migration { conditions.append("migration_id = \(migration.value)") }
        if let batch = filter.batch { conditions.append("batch_id = \(batch.value)") }
        if let states = filter.states { conditions.append("to_state IN (\(list: states.map(\.rawValue).sorted()))") }
        if let modes = filter.modes { conditions.append("mode IN (\(list: modes.map(\.rawValue).sorted()))") }
        if let reasons = filter.reasons { conditions.append("reason_code IN (\(list: reasons.map(\.value).sorted()))") }
        if let actor = filter.actor { conditions.append("actor = \(actor)") }
        if let since = filter.since { conditions.append("at >= \(since.milliseconds)") }
        if let until = filter.until { conditions.append("at < \(until.milliseconds)") }
        if let after {
            let place: SQLStatement = "(SELECT p.at, p.seq FROM transitions p WHERE p.seq = \(after))"
            conditions.append(newestFirst ? "(at, seq) < \(place)" : "(at, seq) > \(place)")
        }
        let order: SQLStatement = newestFirst ? "ORDER BY at DESC, seq DESC" : "ORDER BY at, seq"
        func page(_ more: [SQLStatement]) -> SQLStatement {
            "SELECT \(Transition.columns) FROM transitions WHERE \(.all(conditions + more)) \(order) LIMIT \(max(0, limit))"
        }
        let query: SQLStatement
        if let host = filter.host {
            // A host in either role: two index scans, each with its own limit. No row is in both, since a target is not its source.
            query = """
                SELECT \(Transition.columns) FROM (
                    SELECT * FROM (\(page(["source_id = \(host.value)"]))) AS leaving
                    UNION ALL SELECT * FROM (\(page(["target_id = \(host.value)"]))) AS coming
                ) AS both_ways \(order) LIMIT \(max(0, limit))
                """
        } else {
            query = page([])
        }
        return try await read { try await $0.query(query).map(Transition.init) }
    }
}
