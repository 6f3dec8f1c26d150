import Fleet
import SQL

extension Batch {
    static let columns: SQLStatement = """
        id, name, actor, token, mode, priority, max_parallel, max_failures, start_at, paused_by, held_code, held_message, cancel_requested,
        retry_of, skipped, total, running, ready, failed, cancelled, created_at, finished_at
        """

    init(_ row: SQLRow) throws {
        self.init(
            id: BatchID(try row.text("id")), name: try row.text("name"), actor: try row.text("actor"), token: try row.optionalText("token"),
            mode: try row.optionalWord("mode"), priority: Int(try row.integer("priority")),
            maxParallel: try row.optionalInteger("max_parallel").map { Int($0) },
            maxFailures: try row.optionalText("max_failures").flatMap { FailureLimit($0) },
            startAt: try row.optionalInteger("start_at").map { Timestamp(milliseconds: $0) }, pausedBy: try row.optionalText("paused_by"),
            held: try row.reason("held_code", "held_message"), cancelRequested: try row.flag("cancel_requested"),
            retryOf: try row.optionalText("retry_of").map { BatchID($0) }, skipped: Int(try row.integer("skipped")),
            total: Int(try row.integer("total")), running: Int(try row.integer("running")), ready: Int(try row.integer("ready")),
            failed: Int(try row.integer("failed")), cancelled: Int(try row.integer("cancelled")), createdAt: try row.time("created_at"),
            finishedAt: try row.optionalInteger("finished_at").map { Timestamp(milliseconds: $0) })
    }
}
