import Fleet

/// Which hosts could take a new server, best first, and for every other one why not. A function of what the store knows; no I/O.
struct HostChoice {
    /// By free memory, most first; then by name.
    let fit: [HostLoad]
    /// A sentence for each host that cannot, by host name.
    let unfit: [(host: String, why: String)]

    init(for spec: ServerSpec, among loads: [HostLoad], at now: Timestamp, companions: [GroupCompanion] = []) {
        var fit: [(load: HostLoad, free: Int64)] = []
        var unfit: [(String, String)] = []
        for load in loads {
            switch Self.judge(load, spec, now, companions) {
            case .fit(let free): fit.append((load, free))
            case .unfit(let why): unfit.append((load.host.name, why))
            }
        }
        fit.sort { left, right in
            left.free != right.free ? left.free > right.free : left.load.host.name < right.load.host.name
        }
        self.fit = fit.map(\.load)
        self.unfit = unfit.sorted { $0.0 < $1.0 }
    }

    private enum Judgement {
        /// With the bytes of memory that may still be promised.
        case fit(freeMemory: Int64)
        case unfit(String)
    }

    private static func judge(_ load: HostLoad, _ spec: ServerSpec, _ now: Timestamp, _ companions: [GroupCompanion]) -> Judgement {
        guard load.host.isOnline(at: now), let facts = load.host.facts else { return .unfit("is offline") }
        guard load.host.enabled else { return .unfit("is disabled") }
        guard !load.host.maintenance else { return .unfit("is in maintenance") }
        if let companion = companions.first(where: { $0.forbids(load.host.id) }) {
            return .unfit(
                "must be kept \(companion.policy == .apart ? "apart from" : "together with") \(companion.name) (group \(companion.group))")
        }
        let vcpus = load.host.vcpusCapacity - load.vcpusTaken
        guard spec.vcpus <= vcpus else { return .unfit("has \(max(0, vcpus)) of \(spec.vcpus) vCPUs to give") }
        let free = load.host.memoryCapacityBytes - load.memoryTakenBytes
        guard spec.memoryMB << 20 <= free else {
            return .unfit("has \(max(0, free) >> 20) of \(spec.memoryMB) MiB memory to give")
        }
        for nic in spec.nics where !facts.networks.contains(where: { $0.name == nic.network }) {
            return .unfit("is not attached to the network \(nic.network)")
        }
        if spec.accelerator == .kvm, facts.accelerator != .kvm { return .unfit("cannot run guests with KVM") }
        if let machine = spec.machine, facts.machineAliases[machine] == nil, !facts.machineTypes.contains(machine) {
            return .unfit("has no machine type \(machine)")
        }
        if storages(for: spec, on: load) == nil { return .unfit(storageWant(spec, facts)) }
        return .fit(freeMemory: free)
    }

    /// A storage for each disk: the one asked for, or the local one with the most room left. Nil where one is missing or too small.
    static func storages(for spec: ServerSpec, on load: HostLoad) -> [String]? {
        guard let facts = load.host.facts else { return nil }
        var room: [String: Int64] = [:]
        for storage in facts.storages {
            let reserved = load.storageReservedBytes[storage.name] ?? 0
            let free = storage.freeBytes - reserved
            // As placement does: by what is promised of a local one too, of which not all need be written yet.
            let unpromised = storage.capacityBytes - reserved - (load.storagePromisedBytes[storage.name] ?? 0)
            room[storage.name] = storage.kind == .local ? min(free, unpromised) : free
        }
        let local = facts.storages.filter { $0.kind == .local }.map(\.name)
        var chosen: [String] = []
        for disk in spec.disks {
            let size = disk.sizeBytes ?? 0
            let best = local.max { left, right in
                let (less, more) = (room[left] ?? 0, room[right] ?? 0)
                return less != more ? less < more : left > right
            }
            guard let name = disk.storage ?? best, let free = room[name], free >= size else { return nil }
            room[name] = free - size
            chosen.append(name)
        }
        return chosen
    }

    private static func storageWant(_ spec: ServerSpec, _ facts: HostFacts) -> String {
        for disk in spec.disks {
            guard let name = disk.storage, !facts.storages.contains(where: { $0.name == name }) else { continue }
            return "has no storage \(name)"
        }
        let bytes = spec.disks.reduce(Int64(0)) { $0 + ($1.sizeBytes ?? 0) }
        return "has not the room for disks of \(bytes >> 20) MiB"
    }
}
