import Client
import Fleet
import Foundation
import Hummingbird
import Store

extension API {
    @Sendable func listHosts(_ request: Request, _ context: APIContext) async throws -> Response {
        var query = try query(request)
        let list = try query.list()
        let statuses = try query.choices("host_status", HostView.Status.self)
        // There is no other kind of host, so that a list of any other is empty.
        let hypervisor = query.string("hypervisor")
        try query.finish()
        let selection = try list.selection(of: HostView.self)
        let search = list.search?.lowercased()
        let (loads, now) = try await store.hostLoadsNow()
        let hosts = loads.map { HostView($0, at: now) }.filter { host in
            if let hypervisor, hypervisor.lowercased() != "kvm" { return false }
            if let statuses, !statuses.contains(host.status) { return false }
            guard let search else { return true }
            return [host.name, host.id, host.agentURL].contains { $0.lowercased().contains(search) }
        }
        return try .json(selection.page(of: hosts))
    }

    @Sendable func registerHost(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let name = try fields.requiredString("name", "host1")
        let url = try fields.requiredString("agent_url", "https://10.0.0.1:7070")
        try fields.finish()
        try Names.check(name, field: "name")
        guard let parsed = URLComponents(string: url), parsed.scheme == "https", let host = parsed.host, !host.isEmpty,
            parsed.query == nil, parsed.fragment == nil, parsed.user == nil, ["", "/"].contains(parsed.path)
        else {
            throw Problem.invalid("agent_url", "agent_url is “\(url)”; it must be an address such as https://10.0.0.1:7070.")
        }
        let address = url.hasSuffix("/") ? String(url.dropLast()) : url
        if let other = try await store.hosts().first(where: { $0.agentURL == address && $0.name != name }) {
            throw Problem.conflict(
                "name-taken", "The agent at \(address) is that of \(other.name) already; give this host its own.", field: "agent_url")
        }
        let registered = try await store.registerHost(name: name, agentURL: address)
        return try .json(try await view(of: registered), status: .created)
    }

    @Sendable func showHost(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        return try .json(try await view(of: try await store.host(try parameter("host", context))))
    }

    @Sendable func enableHost(_ request: Request, _ context: APIContext) async throws -> Response {
        try await set(enabled: true, request, context)
    }

    @Sendable func disableHost(_ request: Request, _ context: APIContext) async throws -> Response {
        try await set(enabled: false, request, context)
    }

    private func set(enabled: Bool, _ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let host = try await store.host(try parameter("host", context))
        return try .json(try await view(of: try await store.setHostEnabled(host.id, enabled)))
    }

    @Sendable func beginMaintenance(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let drains = try fields.boolean("drain") ?? true
        try fields.finish()
        let host = try await store.host(try parameter("host", context))
        var view = try await view(of: try await store.setHostMaintenance(host.id, true))
        // Afterwards: nothing new comes any more.
        if drains { view.drain = try await drain(host, context) }
        return try .json(view)
    }

    @Sendable func endMaintenance(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let host = try await store.host(try parameter("host", context))
        return try .json(try await view(of: try await store.setHostMaintenance(host.id, false)))
    }

    /// Submits all of a host's servers that can be migrated: live where they run, cold where they are off.
    private func drain(_ host: Fleet.Host, _ context: APIContext) async throws -> DrainView {
        let servers = try await store.servers(ServerFilter(host: host.id)).sorted { $0.name < $1.name }
        guard !servers.isEmpty else { return DrainView(batch: nil, staying: []) }
        let names = Dictionary(uniqueKeysWithValues: servers.map { ($0.id.value, $0.name) })
        func named(_ flaws: [BatchFlaw]) -> [BatchFlaw] {
            flaws.map { BatchFlaw(line: $0.line, id: names[$0.id] ?? $0.id, reason: $0.reason) }
        }
        let draft = BatchDraft(
            name: Self.batchName("drain-\(host.name.prefix(40))", at: .now), actor: context.actor, digest: "drain of \(host.id)",
            servers: servers.map(\.id.value), maxAttempts: Self.attempts, skipsInvalid: true)
        do {
            let receipt = try await store.submitBatch(draft)
            return DrainView(batch: BatchView(receipt.batch), staying: named(receipt.flaws))
        } catch let refusal as BatchRefusal {
            return DrainView(batch: nil, staying: named(refusal.flaws))
        }
    }

    @Sendable func setAutoMigration(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let down = try fields.choice("auto_migrate_on_host_down", AutoMigrateRequest.Switch.self).map { $0 == .enable }
        let shutdown = try fields.choice("auto_migrate_on_host_shutdown", AutoMigrateRequest.Switch.self).map { $0 == .enable }
        try fields.finish()
        guard down != nil || shutdown != nil else {
            throw Problem.invalid(
                nil, "Nothing is to be changed: give auto_migrate_on_host_down or auto_migrate_on_host_shutdown, enable or disable.")
        }
        let host = try await store.host(try parameter("host", context))
        do {
            return try .json(try await view(of: try await store.setAutoMigration(of: host.id, onHostDown: down, onHostShutdown: shutdown)))
        } catch let error as StoreError where error.code == .wrongStatus {
            throw Problem.invalid("auto_migrate_on_host_shutdown", error.message)
        }
    }

    @Sendable func limitHost(_ request: Request, _ context: APIContext) async throws -> Response {
        var fields = try await fields(request)
        let vcpus = try fields.number("vcpus_overcommit", in: Self.overcommit, unit: "vCPUs a processor")
        let memory = try fields.number("memory_overcommit", in: Self.overcommit, unit: "times the memory")
        let inbound = try fields.integer("inbound_slots", in: Self.slots, unit: "migrations")
        let outbound = try fields.integer("outbound_slots", in: Self.slots, unit: "migrations")
        try fields.finish()
        guard vcpus != nil || memory != nil || inbound != nil || outbound != nil else {
            throw Problem.invalid(
                nil, "Nothing is to be changed: give vcpus_overcommit, memory_overcommit, inbound_slots or outbound_slots.")
        }
        let host = try await store.host(try parameter("host", context))
        let limited = try await store.setHostLimits(
            host.id, vcpus: vcpus, memory: memory, inbound: inbound.map(Int.init), outbound: outbound.map(Int.init))
        return try .json(try await view(of: limited))
    }

    private static let overcommit = 0.01...1000.0
    /// None keeps migrations away and does not hinder anything else.
    private static let slots: ClosedRange<Int64> = 0...1000

    private func view(of host: Fleet.Host) async throws -> HostView {
        let (loads, now) = try await store.hostLoadsNow()
        return HostView(loads.first { $0.host.id == host.id } ?? HostLoad(host: host), at: now)
    }
}
