import Client
import Fleet
import Hummingbird
import Placement
import Store

extension API {
    @Sendable func forecastMigration(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let isLive = try fields.boolean("live_migrate") ?? false
        let isRescue = try fields.boolean("rescue_mode") ?? false
        let mode: Mode = isRescue ? .rescue : isLive ? .live : .cold
        var options = MigrationOptions()
        let wanted = try fields.string("prefer_host")
        options.skipCPUCheck = try fields.boolean("skip_cpu_check") ?? false
        options.skipKernelCheck = try fields.boolean("skip_kernel_check") ?? false
        let cpuCheck = try fields.choice("cpu_check", CPUCheck.self)
        options.cpuCheck = cpuCheck ?? options.cpuCheck
        options.maxBandwidthMB = try fields.integer("max_bandwidth_mb", in: MigrationBounds.bandwidthMB, unit: "MB/s")
        let downtime = try fields.integer("max_downtime_ms", in: MigrationBounds.downtimeMS, unit: "milliseconds")
        options.quicklyFinish = try fields.boolean("quickly_finish") ?? false
        let autoConverge = try fields.boolean("auto_converge")
        options.autoConverge = autoConverge ?? options.autoConverge
        options.postCopy = try fields.boolean("post_copy") ?? false
        options.enableTLS = try fields.boolean("enable_tls") ?? false
        options.timeoutS = try fields.integer("timeout_s", in: MigrationBounds.timeoutS, unit: "seconds")
        let measures = try fields.boolean("measure") ?? true
        try fields.finish()
        if let downtime { options.limitDowntime(toMS: downtime) }
        guard !isLive || !isRescue else {
            throw Problem.invalid(
                "rescue_mode", "rescue_mode cannot be together with live_migrate; give one of them, or neither for a cold migration.")
        }
        try Self.refuse(
            [
                ("skip_cpu_check", options.skipCPUCheck), ("skip_kernel_check", options.skipKernelCheck), ("cpu_check", cpuCheck != nil),
                ("max_downtime_ms", downtime != nil), ("quickly_finish", options.quicklyFinish), ("auto_converge", autoConverge != nil),
                ("post_copy", options.postCopy),
            ], unless: mode == .live, "\(mode.rawValue) migration; leave it out, or ask for live_migrate")
        try Self.refuse(
            [("max_bandwidth_mb", options.maxBandwidthMB != nil), ("enable_tls", options.enableTLS)], unless: mode != .rescue,
            "rescue, which copies nothing; leave it out")
        guard !(options.skipCPUCheck && options.cpuCheck == .features) else {
            throw Problem.invalid("skip_cpu_check", "skip_cpu_check leaves nothing for cpu_check to do; give one of the two.")
        }
        if let wanted { options.preferHost = try await host(wanted, field: "prefer_host").id }
        let server = try await store.server(try parameter("server", context))
        let forecaster = Forecaster(store: store, agents: agents, log: context.logger)
        return try .json(
            try await forecaster.forecast(server, mode: mode, options, measures: measures))
    }

    private static func refuse(_ fields: [(name: String, isGiven: Bool)], unless holds: Bool, _ what: String) throws {
        guard !holds, let field = fields.first(where: \.isGiven)?.name else { return }
        throw Problem.invalid(field, "\(field) has no meaning for a \(what).")
    }
}
