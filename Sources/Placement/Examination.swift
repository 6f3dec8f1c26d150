import Fleet

/// One request with all that can be computed once for all hosts, so that looking at a host costs a few comparisons.
struct Examination {
    let request: PlacementRequest
    let needs: Needs
    /// Local storages with the bytes wanted of each, by name.
    let localWants: [(name: String, bytes: Int64)]
    let sharedWants: [String]
    /// Of the disks that are not on shared storage, for a rescue.
    let localDisks: [GuestDescription.Disk]
    let now: Timestamp
    /// The source as it told last; nil when it never did.
    let source: HostFacts?
    let sourceName: String
    let networks: [Network]
    /// Networks of the guest that the source does not know either, so that their kind is not known.
    let unknownNetworks: [String]
    /// The release whose machine type the guest has; nil where the type does not say.
    let release: QEMURelease?
    /// Why no migration may leave the source now; nil when one may. A rescue takes nothing of its source, which is down.
    let outbound: (wanted: String, found: String)?
    /// Where the source stands among the hosts; nil when it does not.
    let sourcePlace: Int?
    /// Whether a refusal tells what was wanted and found: where only the filter is asked for, the words would cost more than all else.
    var explains = false

    /// - Parameter place: the source's, among the hosts.
    init(_ request: PlacementRequest, among loads: [HostLoad], source place: Int?, now: Timestamp) {
        self.request = request
        self.now = now
        sourcePlace = place
        let load = place.map { loads[$0] }
        let source = load?.host.facts
        self.source = source
        let sourceName = load?.host.name ?? request.source.value
        self.sourceName = sourceName
        let needs = Needs(request.description, storages: source?.storages ?? [])
        self.needs = needs
        localWants = needs.localBytes.sorted { $0.key < $1.key }.map { (name: $0.key, bytes: $0.value) }
        sharedWants = needs.sharedStorages.sorted()
        localDisks = request.description.disks.filter { needs.localBytes[$0.storage] != nil }
        let names = Set(request.description.nics.map(\.network)).sorted()
        let known = source?.networks ?? []
        networks = names.compactMap { name in known.first { $0.name == name } }
        unknownNetworks = names.filter { name in !known.contains { $0.name == name } }
        release = QEMURelease(machine: request.description.machine)
        let taken = load?.outboundMigrations ?? 0
        let slots = load?.host.slots.outbound ?? MigrationSlots.standard.outbound
        outbound =
            taken < slots || request.mode == .rescue
            ? nil : ("a free slot for a migration out of \(sourceName)", "\(taken) of \(slots) taken")
    }

    /// A host to look at, in place: a copy of each of thousands would be most of the work.
    typealias Candidate = UnsafePointer<HostLoad>

    /// The first filter that each host does not pass, in the hosts' order; nil for one that can take the server.
    /// - Parameter known: of hosts that were found to pass every filter before it, the one that each does not pass; empty when of none.
    func filters(
        _ loads: [HostLoad], _ rows: [FleetSnapshot.Row], kinds: [Int], known: [PlacementFilter?] = []
    ) -> [PlacementFilter?] {
        loads.withUnsafeBufferPointer { loads in
            guard let first = loads.baseAddress else { return [] }
            let ofKinds = kinds.map { kindRefusal(first + $0) }
            return rows.indices.map { place in
                if !known.isEmpty, let filter = known[place] { return filter }
                let row = rows[place]
                return refusal(first + place, row, isSource: place == sourcePlace) {
                    row.kind < 0 ? nil : ofKinds[Int(row.kind)]
                }?.filter
            }
        }
    }

    /// Why one host cannot take the server; nil when it can.
    func refusal(_ loads: [HostLoad], at place: Int) -> Refusal? {
        loads.withUnsafeBufferPointer { loads in
            guard let first = loads.baseAddress else { return nil }
            let load = first + place
            return refusal(load, FleetSnapshot.Row(of: loads, at: place), isSource: place == sourcePlace) { kindRefusal(load) }
        }
    }

    // MARK: the filters, in their order

    @inline(__always)
    private func refusal(_ load: Candidate, _ row: FleetSnapshot.Row, isSource: Bool, ofKind: () -> Refusal?) -> Refusal? {
        admissionRefusal(load, isSource: isSource) ?? roomRefusal(row) ?? ofKind() ?? ownRefusal(load) ?? slotRefusal(load)
    }

    /// Whether the host is to be considered at all.
    private func admissionRefusal(_ load: Candidate, isSource: Bool) -> Refusal? {
        if isSource { return refuse(.notSource, "another host", "the server is there now") }
        if let preferred = request.options.preferHost, load.pointee.host.id != preferred {
            return refuse(.preferred, "the preferred host", "another one")
        }
        if !request.excluded.isEmpty, let reason = request.excluded[load.pointee.host.id] {
            return refuse(.excluded, "a host not tried yet", reason.message)
        }
        if !load.pointee.host.enabled { return refuse(.enabled, "enabled", "disabled") }
        if load.pointee.host.maintenance { return refuse(.maintenance, "not in maintenance", "in maintenance") }
        if now >= load.pointee.host.healthyUntil { return refuse(.online, "online", "offline") }
        // Not hasFacts: whatever is computed of a host copies it whole.
        if load.pointee.host.told == nil { return refuse(.facts, "an agent that told what it is", "nothing told yet") }
        if request.mode == .rescue, let disk = localDisks.first {
            return refuse(.localDisk, "every disk on shared storage", "\(disk.name) is on \(disk.storage), which is \(sourceName)'s own")
        }
        return nil
    }

    /// Whether there is room to promise.
    private func roomRefusal(_ row: FleetSnapshot.Row) -> Refusal? {
        if row.vcpusLeft < Int64(needs.vcpus) {
            return refuse(.vcpus, "\(needs.vcpus) vCPUs", "\(max(0, row.vcpusLeft)) of \(row.vcpus) left")
        }
        if row.memoryLeft < needs.memoryBytes {
            return refuse(
                .memory, "\(Bytes(needs.memoryBytes)) of memory", "\(Bytes(max(0, row.memoryLeft))) of \(Bytes(row.memory)) left")
        }
        return nil
    }

    /// Whether the host's storages have room: by what is promised of them, and by what their file systems would still take.
    private func storageRoomRefusal(_ load: Candidate, _ storages: [Storage]) -> Refusal? {
        for (name, disks) in localWants {
            guard let storage = storages.first(where: { $0.name == name && $0.kind == .local }) else { continue }
            let wanted = disks + needs.baseBytes(lackingOn: storage)
            let reserved = load.pointee.storageReservedBytes[name, default: 0]
            let free = storage.freeBytes - reserved
            if free < wanted {
                return refuse(.storage, "\(Bytes(wanted)) on storage \(name)", "\(Bytes(max(0, free))) left")
            }
            let promised = load.pointee.storagePromisedBytes[name, default: 0] + reserved
            if storage.capacityBytes - promised < wanted {
                return refuse(
                    .storage, "\(Bytes(wanted)) on storage \(name)",
                    "\(Bytes(promised)) of \(Bytes(storage.capacityBytes)) promised to disks")
            }
        }
        return nil
    }

    /// What hangs on nothing but what the host is: equal for all hosts of one kind.
    func kindRefusal(_ load: Candidate) -> Refusal? {
        guard let facts = load.pointee.host.facts else { return nil }
        for (name, _) in localWants where !facts.storages.contains(where: { $0.name == name && $0.kind == .local }) {
            return refuse(.storage, "a local storage \(name)", storagesFound(facts))
        }
        for name in sharedWants where !facts.storages.contains(where: { $0.name == name && $0.kind == .shared }) {
            return refuse(.storage, "the shared storage \(name)", storagesFound(facts))
        }
        for network in networks where !facts.networks.contains(network) {
            return refuse(.network, "network \(network.name) (\(network.kind.rawValue))", networksFound(facts))
        }
        for name in unknownNetworks where !facts.networks.contains(where: { $0.name == name }) {
            return refuse(.network, "network \(name)", networksFound(facts))
        }
        if request.description.accelerator == .kvm, facts.accelerator != .kvm {
            return refuse(.accelerator, "KVM", "\(facts.accelerator.rawValue) only")
        }
        return hardwareRefusal(facts) ?? qemuRefusal(facts)
    }

    /// What must be as it is at the source. A running guest carries its CPU's features and its pages along, so that only a live
    /// migration asks for the same CPU, kernel and page size.
    private func hardwareRefusal(_ facts: HostFacts) -> Refusal? {
        guard let source else {
            return refuse(.architecture, "the same architecture as \(sourceName)", "\(sourceName) has not told what it is")
        }
        if facts.architecture != source.architecture {
            return refuse(.architecture, source.architecture, facts.architecture)
        }
        guard request.mode == .live else { return nil }
        if facts.pageSizeBytes != source.pageSizeBytes {
            return refuse(.pageSize, "pages of \(source.pageSizeBytes) bytes", "pages of \(facts.pageSizeBytes) bytes")
        }
        if !request.options.skipCPUCheck, request.options.cpuCheck == .exact {
            if facts.cpuModel != source.cpuModel {
                return refuse(.cpuModel, "CPU \(quoted(source.cpuModel))", quoted(facts.cpuModel))
            }
            if facts.microcode != source.microcode {
                return refuse(.microcode, "microcode \(quoted(source.microcode))", quoted(facts.microcode))
            }
        }
        if !request.options.skipKernelCheck, facts.kernel != source.kernel {
            return refuse(.kernel, "kernel \(source.kernel)", facts.kernel)
        }
        return nil
    }

    private func qemuRefusal(_ facts: HostFacts) -> Refusal? {
        let description = request.description
        if let release, let there = QEMURelease(version: facts.qemuVersion), there < release {
            return refuse(.qemuVersion, "QEMU \(release) or newer, for \(description.machine)", "QEMU \(facts.qemuVersion)")
        }
        if !facts.machineTypes.contains(description.machine) {
            return refuse(
                .machineType, "machine type \(description.machine)",
                "not among the \(facts.machineTypes.count) of its QEMU \(facts.qemuVersion)")
        }
        if !facts.guestCPUModels.contains(description.cpuModel) {
            return refuse(
                .guestCPU, "guest CPU \(description.cpuModel)",
                "not among the \(facts.guestCPUModels.count) that its QEMU \(facts.qemuVersion) runs in full")
        }
        if description.firmware == .uefi, facts.hasUEFI == false {
            return refuse(.firmware, "UEFI firmware (the package ovmf)", "none")
        }
        if description.tpm != nil, facts.hasTPM == false {
            return refuse(.tpm, "an emulator for the server's TPM (the package swtpm)", "none")
        }
        return nil
    }

    /// What hangs on the host itself and cannot be compared by numbers alone.
    func ownRefusal(_ load: Candidate) -> Refusal? {
        if !localWants.isEmpty, let told = load.pointee.host.told, let refusal = storageRoomRefusal(load, told.facts.storages) {
            return refusal
        }
        if !request.missingFeatures.isEmpty, let missing = request.missingFeatures[load.pointee.host.id] {
            return refuse(.cpuFeatures, "every feature of the guest's CPU", "its QEMU lacks \(featuresLacked(missing))")
        }
        for companion in request.companions where companion.forbids(load.pointee.host.id) {
            return refuse(
                .group, "\(companion.policy.rawValue) with \(companion.name) (group \(companion.group))",
                found(companion, load.pointee.host.id))
        }
        return nil
    }

    private func found(_ companion: GroupCompanion, _ host: HostID) -> String {
        switch companion.policy {
        case .apart: companion.target == host ? "\(companion.name) is on its way there" : "\(companion.name) is there"
        case .together:
            companion.target == nil ? "\(companion.name) is on another host" : "\(companion.name) is on its way to another host"
        }
    }

    private func slotRefusal(_ load: Candidate) -> Refusal? {
        if let outbound { return refuse(.outbound, outbound.wanted, outbound.found) }
        let slots = load.pointee.host.slots.inbound
        if load.pointee.inboundMigrations >= slots {
            return refuse(.inbound, "a free slot for a migration into it", "\(load.pointee.inboundMigrations) of \(slots) taken")
        }
        return nil
    }

    // MARK: words

    private func refuse(
        _ filter: PlacementFilter, _ wanted: @autoclosure () -> String, _ found: @autoclosure () -> String
    ) -> Refusal {
        explains ? Refusal(filter: filter, wanted: wanted(), found: found()) : Refusal(filter: filter, wanted: "", found: "")
    }

    private func storagesFound(_ facts: HostFacts) -> String {
        facts.storages.isEmpty ? "none" : facts.storages.map { "\($0.name) (\($0.kind.rawValue))" }.joined(separator: ", ")
    }

    private func networksFound(_ facts: HostFacts) -> String {
        facts.networks.isEmpty ? "none" : facts.networks.map { "\($0.name) (\($0.kind.rawValue))" }.joined(separator: ", ")
    }

    private func featuresLacked(_ missing: [String]) -> String {
        missing.prefix(6).joined(separator: ", ") + (missing.count > 6 ? " and \(missing.count - 6) more" : "")
    }

    private func quoted(_ text: String) -> String { text.isEmpty ? "unknown" : text }
}
