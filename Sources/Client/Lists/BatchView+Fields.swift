import Fleet

extension BatchView: Listed {
    package static var kind: String { "batch" }
    package static var ordinaryOrder: String { "created_at" }

    package static var fields: [Field<BatchView>] {
        [
            Field("ID") { .text($0.id) },
            Field("Name") { .text($0.name) },
            Field("Status") { .text($0.status.rawValue) },
            Field("Total") { FieldValue($0.total) },
            Field("Running") { FieldValue($0.running) },
            Field("Ready") { FieldValue($0.ready) },
            Field("Failed") { FieldValue($0.failed) },
            Field("Cancelled") { FieldValue($0.cancelled) },
            Field("Skipped") { FieldValue($0.skipped) },
            Field("Mode") { .text($0.mode.rawValue) },
            Field("Priority") { FieldValue($0.priority) },
            Field("max_parallel") { FieldValue($0.maxParallel) },
            Field("max_failures") { FieldValue($0.maxFailures?.description) },
            Field("Actor") { .text($0.actor) },
            Field("Created_at") { .text($0.createdAt.description) },
            Field("Start_at") { FieldValue($0.startAt?.description) },
            Field("Finished_at") { FieldValue($0.finishedAt?.description) },
            Field("Paused_by") { FieldValue($0.pausedBy) },
            Field("Retry_of") { FieldValue($0.retryOf) },
            Field("Token") { FieldValue($0.token) },
            Field("Message") { FieldValue($0.held?.message) },
        ]
    }
}
