import Fleet
import SQL

extension Store {
    /// Finished migrations by what is asked for, in its order. Of a filter, `since` and `until` are about their end, `states` about how they
    /// ended, and `actor` about who submitted them.
    ///
    /// Figures are of those that were ready.
    package func historyStatistics(by dimensions: [HistoryDimension], _ filter: HistoryFilter) async throws -> [HistoryStatistics] {
        var conditions: [SQLStatement] = []
        if let server = filter.server { conditions.append("server_id = \(server.value)") }
        if let migration = filter.migration { conditions.append("id = \(migration.value)") }
        if let batch = filter.batch { conditions.append("batch_id = \(batch.value)") }
        if let host = filter.host { conditions.append("(source_id = \(host.value) OR target_id = \(host.value))") }
        if let states = filter.states { conditions.append("state IN (\(list: states.map(\.rawValue).sorted()))") }
        if let modes = filter.modes { conditions.append("mode IN (\(list: modes.map(\.rawValue).sorted()))") }
        if let reasons = filter.reasons { conditions.append("reason_code IN (\(list: reasons.map(\.value).sorted()))") }
        if let actor = filter.actor { conditions.append("actor = \(actor)") }
        if let since = filter.since { conditions.append("finished_at >= \(since.milliseconds)") }
        if let until = filter.until { conditions.append("finished_at < \(until.milliseconds)") }
        let chosen: SQLStatement =
            if let failures = failures(by: dimensions, filter) {
                failures
            } else {
                "SELECT * FROM migration_outcomes WHERE \(.all(conditions))"
            }
        let keys = dimensions.enumerated().map { index, dimension in
            SQLStatement(parts: dimension.column.parts + [.text(" AS key\(index)")])
        }
        let names = dimensions.indices.map { SQLStatement(parts: [.text("key\($0)")]) }
        let (keyList, nameList) = (SQLStatement.list(keys), SQLStatement.list(names))
        let keyed: SQLStatement = dimensions.isEmpty ? "" : "\(keyList), "
        let named: SQLStatement = dimensions.isEmpty ? "" : "\(nameList), "
        let grouping: SQLStatement = dimensions.isEmpty ? "" : "GROUP BY \(nameList) ORDER BY \(nameList)"
        return try await read { transaction in
            let counts = try await transaction.query(
                """
                SELECT \(named)COUNT(*) AS n,
                    COALESCE(SUM(CASE WHEN state = \(MigrationState.ready.rawValue) THEN 1 ELSE 0 END), 0) AS ready
                FROM (SELECT \(keyed)state FROM (\(chosen)) AS chosen) AS keyed \(grouping)
                """)
            var found: [[String?]: HistoryStatistics] = [:]
            var order: [[String?]] = []
            for row in counts where try row.integer("n") > 0 {
                let key = try dimensions.enumerated().map { try $1.key(row.value("key\($0)")) }
                let (count, ready) = (Int(try row.integer("n")), Int(try row.integer("ready")))
                found[key] = HistoryStatistics(key: key, count: count, ready: ready, failed: count - ready)
                order.append(key)
            }
            // None of those that failed has any.
            for figure in HistoryFigure.allCases where filter.states?.contains(.ready) ?? true {
                // Nearest rank: the smallest value that is not below so many hundredths of them.
                let partition: SQLStatement = dimensions.isEmpty ? "" : "PARTITION BY \(nameList)"
                let rows = try await transaction.query(
                    """
                    SELECT \(named)
                        MIN(CASE WHEN place * 100 >= n * 50 THEN value END) AS p50,
                        MIN(CASE WHEN place * 100 >= n * 95 THEN value END) AS p95,
                        MIN(CASE WHEN place * 100 >= n * 99 THEN value END) AS p99
                    FROM (
                        SELECT \(named)value, ROW_NUMBER() OVER (\(partition) ORDER BY value) AS place,
                            COUNT(*) OVER (\(partition)) AS n
                        FROM (
                            SELECT \(keyed)\(figure.column) AS value FROM (\(chosen)) AS chosen
                            WHERE state = \(MigrationState.ready.rawValue) AND \(figure.column) IS NOT NULL
                        ) AS keyed
                    ) AS placed \(grouping)
                    """)
                for row in rows {
                    let key = try dimensions.enumerated().map { try $1.key(row.value("key\($0)")) }
                    guard let p50 = try row.optionalInteger("p50"), let p95 = try row.optionalInteger("p95"),
                        let p99 = try row.optionalInteger("p99")
                    else { continue }
                    let percentiles = HistoryStatistics.Percentiles(p50: p50, p95: p95, p99: p99)
                    switch figure {
                    case .total: found[key]?.totalMS = percentiles
                    case .blackout: found[key]?.blackoutUS = percentiles
                    case .bytes: found[key]?.bytes = percentiles
                    }
                }
            }
            return order.compactMap { found[$0] }
        }
    }
}

extension Store {
    /// Failures alone, where nothing is asked of them but what their index holds; nil for any other question.
    private func failures(by dimensions: [HistoryDimension], _ filter: HistoryFilter) -> SQLStatement? {
        guard filter.states == [.failed], Set(dimensions).isSubset(of: [.day, .reason, .mode, .state]) else { return nil }
        var rest = filter
        (rest.states, rest.modes, rest.reasons, rest.since, rest.until) = (nil, nil, nil, nil, nil)
        guard rest == HistoryFilter() else { return nil }
        var conditions: [SQLStatement] = [dialect.hasFailed]
        if let modes = filter.modes { conditions.append("mode IN (\(list: modes.map(\.rawValue).sorted()))") }
        if let reasons = filter.reasons { conditions.append("reason_code IN (\(list: reasons.map(\.value).sorted()))") }
        if let since = filter.since { conditions.append("\(dialect.failedAt) >= \(since.milliseconds)") }
        if let until = filter.until { conditions.append("\(dialect.failedAt) < \(until.milliseconds)") }
        return """
            SELECT \(dialect.failedAt) AS finished_at, reason_code, mode, \(MigrationState.failed.rawValue) AS state FROM migrations
            WHERE \(.all(conditions))
            """
    }
}

private enum HistoryFigure: CaseIterable {
    case total
    case blackout
    case bytes

    var column: SQLStatement {
        switch self {
        case .total: "total_ms"
        case .blackout: "blackout_us"
        case .bytes: "bytes"
        }
    }
}

extension HistoryDimension {
    /// From the value of ``column``.
    fileprivate func key(_ value: SQLValue) throws -> String? {
        switch value {
        case .null: nil
        case .text(let text): text
        case .integer(let number) where self == .day: CivilDate(daysSince1970: number).description
        case .integer, .real, .blob: throw SQLError(.statement, "a dimension of the statistics holds something else than text")
        }
    }

    fileprivate var column: SQLStatement {
        switch self {
        // The day's number: its name is made of that once a group and not once a row.
        case .day: "finished_at / 86400000"
        case .source: "COALESCE(source, source_id)"
        case .target: "COALESCE(target, target_id)"
        case .mode: "mode"
        case .state: "state"
        case .reason: "CASE WHEN state = 'failed' THEN reason_code END"
        }
    }
}
