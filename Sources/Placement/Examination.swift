import Fleet

/// One request with all that can be computed once for all hosts, so that looking at a host costs a few comparisons.
struct Examination {
    let request: PlacementRequest
    let needs: Needs
    /// Local storages with the bytes wanted of each, by name.
    let localWants: [(name: String, bytes: Int64)]
    let sharedWants: [String]
    let now: Timestamp
    /// The source as it told last; nil when it never did.
    let source: HostFacts?
    let sourceName: String
    let networks: [Network]
    /// Networks of the guest that the source does not know either, so that their kind is not known.
    let unknownNetworks: [String]

    init(_ request: PlacementRequest, _ loads: [HostLoad], now: Timestamp) {
        self.request = request
        self.now = now
        let host = loads.first { $0.host.id == request.source }?.host
        source = host?.facts
        sourceName = host?.name ?? request.source.value
        needs = Needs(request.description, storages: source?.storages ?? [])
        localWants = needs.localBytes.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        sharedWants = needs.sharedStorages.sorted()
        let names = Set(request.description.nics.map(\.network)).sorted()
        let known = source?.networks ?? []
        networks = names.compactMap { name in known.first { $0.name == name } }
        unknownNetworks = names.filter { name in !known.contains { $0.name == name } }
    }

    /// The comparisons that are cheap; most unfit hosts fall here.
    func cheapRejection(_ load: HostLoad) -> Rejection? {
        // No copy of the host is made here: with thousands of them that would be most of the work.
        let id = load.host.id
        if id == request.source {
            return reject(load, .notSource, "another host", "the server is there now")
        }
        if let preferred = request.options.preferHost, id != preferred {
            return reject(load, .preferred, "the preferred host", "another one")
        }
        if !request.excluded.isEmpty, let reason = request.excluded[id] {
            return reject(load, .excluded, "a host not tried yet", reason.message)
        }
        if !load.host.enabled { return reject(load, .enabled, "enabled", "disabled") }
        if !load.host.isOnline(at: now) { return reject(load, .online, "online", "offline") }
        guard let facts = load.host.facts else { return reject(load, .facts, "an agent that told what it is", "nothing told yet") }
        return roomRejection(load, facts)
    }

    private func roomRejection(_ load: HostLoad, _ facts: HostFacts) -> Rejection? {
        let cpus = request.overcommit.vcpus(of: facts)
        if load.vcpusTaken + needs.vcpus > cpus {
            return reject(load, .vcpus, "\(needs.vcpus) vCPUs", "\(max(0, cpus - load.vcpusTaken)) of \(cpus) left")
        }
        let memory = request.overcommit.memoryBytes(of: facts)
        if load.memoryTakenBytes + needs.memoryBytes > memory {
            let left = max(0, memory - load.memoryTakenBytes)
            return reject(
                load, .memory, "\(Bytes(needs.memoryBytes)) of memory", "\(Bytes(left)) of \(Bytes(memory)) left")
        }
        for (name, wanted) in localWants {
            guard let storage = facts.storages.first(where: { $0.name == name && $0.kind == .local }) else {
                return reject(load, .storage, "a local storage \(name)", storagesFound(facts))
            }
            let left = storage.freeBytes - load.storageReservedBytes[name, default: 0]
            if left < wanted {
                return reject(load, .storage, "\(Bytes(wanted)) on storage \(name)", "\(Bytes(max(0, left))) left")
            }
        }
        for name in sharedWants where !facts.storages.contains(where: { $0.name == name && $0.kind == .shared }) {
            return reject(load, .storage, "the shared storage \(name)", storagesFound(facts))
        }
        return nil
    }

    /// The comparisons that read lists of names; done only for hosts that passed the cheap ones.
    func costlyRejection(_ load: HostLoad) -> Rejection? {
        guard let facts = load.host.facts else { return nil }
        for network in networks where !facts.networks.contains(network) {
            return reject(load, .network, "network \(network.name) (\(network.kind.rawValue))", networksFound(facts))
        }
        for name in unknownNetworks where !facts.networks.contains(where: { $0.name == name }) {
            return reject(load, .network, "network \(name)", networksFound(facts))
        }
        let description = request.description
        if description.accelerator == .kvm, facts.accelerator != .kvm {
            return reject(load, .accelerator, "KVM", "\(facts.accelerator.rawValue) only")
        }
        if let rejection = hardwareRejection(load, facts) { return rejection }
        if !facts.guestCPUModels.contains(description.cpuModel) {
            return reject(
                load, .guestCPU, "guest CPU \(description.cpuModel)",
                "not among the \(facts.guestCPUModels.count) that its QEMU \(facts.qemuVersion) runs in full")
        }
        if !facts.machineTypes.contains(description.machine) {
            return reject(
                load, .machineType, "machine type \(description.machine)",
                "not among the \(facts.machineTypes.count) of its QEMU \(facts.qemuVersion)")
        }
        return nil
    }

    /// What must be as it is at the source. A running guest carries its CPU's features and its pages along, so that only a live
    /// migration asks for the same CPU, kernel and page size.
    private func hardwareRejection(_ load: HostLoad, _ facts: HostFacts) -> Rejection? {
        guard let source else {
            return reject(load, .architecture, "the same architecture as \(sourceName)", "\(sourceName) has not told what it is")
        }
        if facts.architecture != source.architecture {
            return reject(load, .architecture, source.architecture, facts.architecture)
        }
        guard request.mode == .live else { return nil }
        if facts.pageSizeBytes != source.pageSizeBytes {
            return reject(load, .pageSize, "pages of \(source.pageSizeBytes) bytes", "pages of \(facts.pageSizeBytes) bytes")
        }
        if !request.options.skipCPUCheck {
            if facts.cpuModel != source.cpuModel {
                return reject(load, .cpuModel, "CPU \(quoted(source.cpuModel))", quoted(facts.cpuModel))
            }
            if facts.microcode != source.microcode {
                return reject(load, .microcode, "microcode \(quoted(source.microcode))", quoted(facts.microcode))
            }
        }
        if !request.options.skipKernelCheck, facts.kernel != source.kernel {
            return reject(load, .kernel, "kernel \(source.kernel)", facts.kernel)
        }
        return nil
    }

    private func reject(_ load: HostLoad, _ filter: PlacementFilter, _ wanted: String, _ found: String) -> Rejection {
        Rejection(host: load.host.id, name: load.host.name, filter: filter, wanted: wanted, found: found)
    }

    private func storagesFound(_ facts: HostFacts) -> String {
        facts.storages.isEmpty ? "none" : facts.storages.map { "\($0.name) (\($0.kind.rawValue))" }.joined(separator: ", ")
    }

    private func networksFound(_ facts: HostFacts) -> String {
        facts.networks.isEmpty ? "none" : facts.networks.map { "\($0.name) (\($0.kind.rawValue))" }.joined(separator: ", ")
    }

    private func quoted(_ text: String) -> String { text.isEmpty ? "unknown" : text }
}

/// Bytes as a person reads them: binary units, one digit after the point.
struct Bytes: CustomStringConvertible {
    let count: Int64

    init(_ count: Int64) { self.count = count }

    var description: String {
        var scaled = Double(count)
        var unit = 0
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        while scaled >= 1024, unit < units.count - 1 {
            scaled /= 1024
            unit += 1
        }
        let tenths = Int64((scaled * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }
}
