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
        var options = MigrationOptions()
        let wanted = try fields.string("prefer_host")
        options.skipCPUCheck = try fields.boolean("skip_cpu_check") ?? false
        options.skipKernelCheck = try fields.boolean("skip_kernel_check") ?? false
        options.cpuCheck = try fields.choice("cpu_check", CPUCheck.self) ?? .exact
        options.maxBandwidthMB = try fields.integer("max_bandwidth_mb", in: MigrationBounds.bandwidthMB, unit: "MB/s")
        let downtime = try fields.integer("max_downtime_ms", in: MigrationBounds.downtimeMS, unit: "milliseconds")
        options.quicklyFinish = try fields.boolean("quickly_finish") ?? false
        options.autoConverge = try fields.boolean("auto_converge") ?? true
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
        guard !(options.skipCPUCheck && options.cpuCheck == .features) else {
            throw Problem.invalid("skip_cpu_check", "skip_cpu_check leaves nothing for cpu_check to do; give one of the two.")
        }
        if let wanted { options.preferHost = try await host(wanted, field: "prefer_host").id }
        let server = try await store.server(try parameter("server", context))
        let forecaster = Forecaster(store: store, agents: agents, log: context.logger)
        return try .json(
            try await forecaster.forecast(server, mode: isRescue ? .rescue : isLive ? .live : .cold, options, measures: measures))
    }
}
