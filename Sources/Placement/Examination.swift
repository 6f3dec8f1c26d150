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
    /// Whether a rejection tells what was wanted and found; where it is only asked for whether there is one, the words cost more than all else.
    let explains: Bool
    /// Of what every host is asked for alike.
    private let words: (vcpus: String, memory: String, storages: [String])

    init(_ request: PlacementRequest, source load: HostLoad?, now: Timestamp, explains: Bool) {
        self.explains = explains
        self.request = request
        self.now = now
        let source = load?.host.facts
        self.source = source
        let sourceName = load?.host.name ?? request.source.value
        self.sourceName = sourceName
        let needs = Needs(request.description, storages: source?.storages ?? [])
        self.needs = needs
        let localWants = needs.localBytes.sorted { $0.key < $1.key }.map { (name: $0.key, bytes: $0.value) }
        self.localWants = localWants
        words =
            explains
            ? (
                "\(needs.vcpus) vCPUs", "\(Bytes(needs.memoryBytes)) of memory",
                localWants.map { "\(Bytes($0.bytes)) on storage \($0.name)" }
            ) : ("", "", [])
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
    func rejections(_ loads: [HostLoad], _ rows: [FleetSnapshot.Row], kinds: [Int]) -> [Rejection?] {
        loads.withUnsafeBufferPointer { loads in
            guard let first = loads.baseAddress else { return [] }
            let ofKinds = kinds.map { kindRejection(first + $0) }
            return rows.indices.map { place in
                let (row, load) = (rows[place], first + place)
                return admissionRejection(load) ?? roomRejection(load, row)
                    ?? (row.kind < 0 ? nil : ofKinds[Int(row.kind)]?.of(load.pointee.host.id, name: load.pointee.host.name))
                    ?? ownRejection(load) ?? slotRejection(load)
            }
        }
    }

    // MARK: the filters, in their order

    /// Whether the host is to be considered at all.
    private func admissionRejection(_ load: Candidate) -> Rejection? {
        if load.pointee.host.id == request.source { return reject(load, .notSource, "another host", "the server is there now") }
        if let preferred = request.options.preferHost, load.pointee.host.id != preferred {
            return reject(load, .preferred, "the preferred host", "another one")
        }
        if !request.excluded.isEmpty, let reason = request.excluded[load.pointee.host.id] {
            return reject(load, .excluded, "a host not tried yet", reason.message)
        }
        if !load.pointee.host.enabled { return reject(load, .enabled, "enabled", "disabled") }
        if load.pointee.host.maintenance { return reject(load, .maintenance, "not in maintenance", "in maintenance") }
        if now >= load.pointee.host.healthyUntil { return reject(load, .online, "online", "offline") }
        if load.pointee.host.told == nil { return reject(load, .facts, "an agent that told what it is", "nothing told yet") }
        if let disk = localDisks.first, request.mode == .rescue {
            return reject(
                load, .localDisk, "every disk on shared storage", "\(disk.name) is on \(disk.storage), which is \(sourceName)'s own")
        }
        return nil
    }

    /// Whether there is room to promise.
    private func roomRejection(_ load: Candidate, _ row: FleetSnapshot.Row) -> Rejection? {
        if row.vcpusLeft < Int64(needs.vcpus) {
            return reject(load, .vcpus, words.vcpus, .left(Int(row.vcpusLeft), of: Int(row.vcpus)))
        }
        if row.memoryLeft < needs.memoryBytes {
            return reject(load, .memory, words.memory, .bytesLeftOf(row.memoryLeft, row.memory))
        }
        return nil
    }

    /// Whether the host's storages have room: by what is promised of them, and by what their file systems would still take.
    private func storageRoomRejection(_ load: Candidate, _ storages: [Storage]) -> Rejection? {
        for (place, (name, disks)) in localWants.enumerated() {
            guard let storage = storages.first(where: { $0.name == name && $0.kind == .local }) else { continue }
            let wanted = disks + needs.baseBytes(lackingOn: storage)
            var words: String { wanted == disks ? self.words.storages[place] : "\(Bytes(wanted)) on storage \(name)" }
            let reserved = load.pointee.storageReservedBytes[name, default: 0]
            let free = storage.freeBytes - reserved
            if free < wanted {
                return reject(load, .storage, words, .bytesLeft(free))
            }
            let promised = load.pointee.storagePromisedBytes[name, default: 0] + reserved
            if storage.capacityBytes - promised < wanted {
                return reject(load, .storage, words, .bytesPromised(promised, of: storage.capacityBytes))
            }
        }
        return nil
    }

    /// What hangs on nothing but what the host is: equal for all hosts of one kind.
    func kindRejection(_ load: Candidate) -> Rejection? {
        guard let facts = load.pointee.host.facts else { return nil }
        for (name, _) in localWants where !facts.storages.contains(where: { $0.name == name && $0.kind == .local }) {
            return reject(load, .storage, "a local storage \(name)", storagesFound(facts))
        }
        for name in sharedWants where !facts.storages.contains(where: { $0.name == name && $0.kind == .shared }) {
            return reject(load, .storage, "the shared storage \(name)", storagesFound(facts))
        }
        for network in networks where !facts.networks.contains(network) {
            return reject(load, .network, "network \(network.name) (\(network.kind.rawValue))", networksFound(facts))
        }
        for name in unknownNetworks where !facts.networks.contains(where: { $0.name == name }) {
            return reject(load, .network, "network \(name)", networksFound(facts))
        }
        if request.description.accelerator == .kvm, facts.accelerator != .kvm {
            return reject(load, .accelerator, "KVM", "\(facts.accelerator.rawValue) only")
        }
        return hardwareRejection(load, facts) ?? qemuRejection(load, facts)
    }

    /// What must be as it is at the source. A running guest carries its CPU's features and its pages along, so that only a live
    /// migration asks for the same CPU, kernel and page size.
    private func hardwareRejection(_ load: Candidate, _ facts: HostFacts) -> Rejection? {
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
        if !request.options.skipCPUCheck, request.options.cpuCheck == .exact {
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

    private func qemuRejection(_ load: Candidate, _ facts: HostFacts) -> Rejection? {
        let description = request.description
        if let release, let there = QEMURelease(version: facts.qemuVersion), there < release {
            return reject(load, .qemuVersion, "QEMU \(release) or newer, for \(description.machine)", "QEMU \(facts.qemuVersion)")
        }
        if !facts.machineTypes.contains(description.machine) {
            return reject(
                load, .machineType, "machine type \(description.machine)",
                "not among the \(facts.machineTypes.count) of its QEMU \(facts.qemuVersion)")
        }
        if !facts.guestCPUModels.contains(description.cpuModel) {
            return reject(
                load, .guestCPU, "guest CPU \(description.cpuModel)",
                "not among the \(facts.guestCPUModels.count) that its QEMU \(facts.qemuVersion) runs in full")
        }
        if description.firmware == .uefi, facts.hasUEFI == false {
            return reject(load, .firmware, "UEFI firmware (the package ovmf)", "none")
        }
        if description.tpm != nil, facts.hasTPM == false {
            return reject(load, .tpm, "an emulator for the server's TPM (the package swtpm)", "none")
        }
        return nil
    }

    /// What hangs on the host itself and cannot be compared by numbers alone.
    func ownRejection(_ load: Candidate) -> Rejection? {
        if !localWants.isEmpty, let told = load.pointee.host.told, let rejection = storageRoomRejection(load, told.facts.storages) {
            return rejection
        }
        if !request.missingFeatures.isEmpty, let missing = request.missingFeatures[load.pointee.host.id] {
            return reject(load, .cpuFeatures, "every feature of the guest's CPU", "its QEMU lacks \(featuresLacked(missing))")
        }
        for companion in request.companions where companion.forbids(load.pointee.host.id) {
            return reject(
                load, .group, "\(companion.policy.rawValue) with \(companion.name) (group \(companion.group))",
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

    private func slotRejection(_ load: Candidate) -> Rejection? {
        if let outbound { return reject(load, .outbound, outbound.wanted, outbound.found) }
        let slots = load.pointee.host.slots.inbound
        if load.pointee.inboundMigrations >= slots {
            return reject(load, .inbound, "a free slot for a migration into it", .taken(load.pointee.inboundMigrations, of: slots))
        }
        return nil
    }

    // MARK: words

    private func reject(
        _ load: Candidate, _ filter: PlacementFilter, _ wanted: @autoclosure () -> String, _ found: @autoclosure () -> String
    ) -> Rejection {
        guard explains else { return Self.unexplained }
        return Rejection(host: load.pointee.host.id, name: load.pointee.host.name, filter: filter, wanted: wanted(), found: found())
    }

    private func reject(
        _ load: Candidate, _ filter: PlacementFilter, _ wanted: @autoclosure () -> String, _ finding: Rejection.Finding
    ) -> Rejection {
        guard explains else { return Self.unexplained }
        return Rejection(host: load.pointee.host.id, name: load.pointee.host.name, filter: filter, wanted: wanted(), finding: finding)
    }

    private static let unexplained = Rejection(host: "", name: "", filter: .facts, wanted: "", found: "")

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
