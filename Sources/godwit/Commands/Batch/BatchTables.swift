import Client
import Fleet
import Output

/// Batches and what belongs to them as tables.
enum BatchTables {
    static let columns = Columns<BatchView>(
        usual: ["ID", "Name", "Status", "Total", "Running", "Ready", "Failed", "Cancelled", "Priority", "Created_at"],
        details: [
            "Mode", "max_parallel", "max_failures", "Skipped", "Actor", "Start_at", "Finished_at", "Paused_by", "Retry_of", "Token",
            "Message",
        ],
        cells: ["Message": { $0.held?.message.wrapped(60) }])

    static func one(_ batch: BatchView) -> String {
        Table(fields: [
            "id": batch.id,
            "name": batch.name,
            "status": batch.status.rawValue,
            "paused_by": batch.pausedBy,
            "held": batch.held?.message.wrapped(80),
            "total": String(batch.total),
            "running": String(batch.running),
            "ready": String(batch.ready),
            "failed": String(batch.failed),
            "cancelled": batch.cancelled > 0 ? String(batch.cancelled) : nil,
            "skipped": batch.skipped > 0 ? String(batch.skipped) : nil,
            "states": counts(batch.states ?? [:], order: MigrationState.allCases.map(\.rawValue)),
            "reasons": counts(batch.reasons ?? [:], order: []),
            "eta": batch.etaMS.map { Amounts.remaining($0) },
            "mode": batch.mode.rawValue,
            "priority": String(batch.priority),
            "max_parallel": batch.maxParallel.map { String($0) } ?? "as many as the hosts take",
            "max_failures": batch.maxFailures?.description ?? "none",
            "start_at": batch.startAt?.description,
            "actor": batch.actor,
            "token": batch.token,
            "retry_of": batch.retryOf,
            "created_at": batch.createdAt.description,
            "finished_at": batch.finishedAt?.description,
        ]).text
    }

    /// Lines that cannot be taken, or were left out, with a footer; nothing where there are none.
    ///
    /// - Parameter numbers: the line of each server in the user's file.
    static func lines(_ flaws: [BatchFlaw], _ numbers: [Int]?) -> String {
        guard !flaws.isEmpty else { return "" }
        let rows: [[String?]] = flaws.map { flaw in
            let line = numbers.flatMap { $0.indices.contains(flaw.line - 1) ? $0[flaw.line - 1] : nil } ?? flaw.line
            return [String(line), flaw.id, flaw.reason.code.value, flaw.reason.message.wrapped(80)]
        }
        return Table(["Line", "ID", "Reason", "Message"], rows: rows).text + Table.footer(total: flaws.count, shown: flaws.count) + "\n"
    }

    static func plan(_ plan: BatchPlanView) -> String {
        let going = plan.moves.filter { $0.targetHost != nil }
        let staying = plan.moves.filter { $0.targetHost == nil }
        var text = ""
        if !going.isEmpty {
            let rows: [[String?]] = going.enumerated().map { index, move in
                [
                    String(index + 1), move.wave.map { String($0) }, move.server.name, move.mode.rawValue, move.sourceHost.name,
                    move.targetHost?.name, move.atMostMS.map { Amounts.span(microseconds: $0 * 1000) },
                ]
            }
            text += Table(["Order", "Wave", "Server", "Mode", "Source", "Target", "At_most"], rows: rows).text
            text += Table.footer(total: going.count, shown: going.count) + "\n"
        }
        if !staying.isEmpty {
            let rows: [[String?]] = staying.map { [$0.server.name, $0.mode.rawValue, $0.sourceHost.name, $0.reason?.message] }
            text += Table(["Server", "Mode", "Source", "Cannot go"], rows: rows).text
            text += Table.footer(total: staying.count, shown: staying.count) + "\n"
        }
        return text
    }

    /// `pending 3, ready 2`.
    private static func counts(_ counts: [String: Int], order: [String]) -> String? {
        let names = order.filter { counts[$0] != nil } + counts.keys.filter { !order.contains($0) }.sorted()
        return names.isEmpty ? nil : names.compactMap { name in counts[name].map { "\(name) \($0)" } }.joined(separator: ", ")
    }
}
