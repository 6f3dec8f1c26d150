import Fleet

extension MigrationView: Listed {
    package static var kind: String { "migration" }
    package static var ordinaryOrder: String { "created_at" }

    package static var fields: [Field<MigrationView>] {
        [
            Field("ID") { .text($0.id) },
            Field("Server") { FieldValue(name($0.server)) },
            Field("Mode") { .text($0.mode.rawValue) },
            Field("State", "status") { .text($0.state.rawValue) },
            Field("Source", "source_host") { FieldValue(name($0.sourceHost)) },
            Field("Target", "target_host") { FieldValue($0.targetHost.map(name)) },
            Field("Attempt") { .number(Int64($0.attempt)) },
            Field("Created_at") { .text($0.createdAt.description) },
            Field("Total", "total_ms") { FieldValue($0.totalMS) },
            Field("Blackout", "blackout_us") { FieldValue($0.blackout?.totalUS) },
            Field("Reason") { FieldValue($0.reason?.code.value) },
            Field("Server_id") { .text($0.server.id) },
            Field("Source_id") { .text($0.sourceHost.id) },
            Field("Target_id") { FieldValue($0.targetHost?.id) },
            Field("Direction") { .text($0.direction.rawValue) },
            Field("Prefer_host") { FieldValue($0.options.preferHost.map(name)) },
            Field("max_bandwidth_mb") { FieldValue($0.options.maxBandwidthMB) },
            Field("Actor") { .text($0.actor) },
            Field("Priority") { .number(Int64($0.priority)) },
            Field("cancel_requested") { FieldValue($0.cancelRequested) },
            Field("Awaiting") { FieldValue($0.awaiting) },
            Field("Finished_at") { FieldValue($0.finishedAt?.description) },
            Field("Batch") { FieldValue($0.batch) },
            Field("Message") { FieldValue($0.reason?.message) },
        ]
    }

    /// Its name, or its id where only that is left of it.
    private static func name(_ thing: Named) -> String { thing.name.isEmpty ? thing.id : thing.name }
}
