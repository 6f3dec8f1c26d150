import Fleet
import Placement
import Testing

private let gib: Int64 = 1 << 30
private let now = Timestamp(milliseconds: 1_000_000)

private func facts(_ change: (inout HostFacts) -> Void = { _ in }) -> HostFacts {
    var facts = HostFacts(
        architecture: "x86_64", cpuModel: "Xeon E5-2650 v2", microcode: "0x42e", kernel: "6.1.0-40-amd64", qemuVersion: "7.2.22",
        machineTypes: ["pc-i440fx-7.2", "pc-q35-7.2"], machineAliases: ["pc": "pc-i440fx-7.2"],
        guestCPUModels: ["qemu64-v1", "EPYC-v4"], accelerator: .kvm, warnings: [], cpus: 16, memoryBytes: 64 * gib,
        pageSizeBytes: 4096, storages: [Storage(name: "local", kind: .local, capacityBytes: 500 * gib, freeBytes: 200 * gib)],
        networks: [Network(name: "lan", kind: .bridge)], guests: [])
    change(&facts)
    return facts
}

private func load(
    _ name: String, vcpus: Int = 0, memory: Int64 = 0, reserved: [String: Int64] = [:], inbound: Int = 0, enabled: Bool = true,
    online: Bool = true, change: (inout HostFacts) -> Void = { _ in }
) -> HostLoad {
    let host = Host(
        id: HostID("id-\(name)"), name: name, agentURL: "https://\(name):7070", enabled: enabled,
        healthyUntil: Timestamp(milliseconds: now.milliseconds + (online ? 1 : 0)), facts: facts(change))
    return HostLoad(
        host: host, vcpusTaken: vcpus, memoryTakenBytes: memory, storageReservedBytes: reserved, inboundMigrations: inbound)
}

private func request(
    mode: Mode = .live, options: MigrationOptions = MigrationOptions(), excluded: [HostID: Reason] = [:],
    change: (inout GuestDescription) -> Void = { _ in }
) -> PlacementRequest {
    var description = GuestDescription(
        server: "vm1", name: "vm1", vcpus: 4, memoryBytes: 8 * gib, cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2",
        accelerator: .kvm, firmware: .bios, boot: nil,
        disks: [.init(name: "disk0", sizeBytes: 40 * gib, format: .qcow2, bus: .virtioBlk, storage: "local")], cdrom: nil,
        nics: [.init(name: "nic0", network: "lan", mac: "52:54:00:00:00:01")])
    change(&description)
    return PlacementRequest(
        server: "vm1", description: description, source: "id-source", mode: mode, options: options, excluded: excluded)
}

/// The rejection of the one host beside the source; nil when it is chosen.
private func rejection(_ request: PlacementRequest, _ target: HostLoad, source: HostLoad = load("source")) -> Rejection? {
    switch Placement.choose(request, among: [source, target], now: now) {
    case .chosen(let host):
        #expect(host == target.host.id)
        return nil
    case .rejected(let rejections):
        #expect(rejections.map(\.host) == [source.host.id, target.host.id], "every host must be told of")
        #expect(rejections.first?.filter == .notSource)
        return rejections.last
    }
}

private func expect(_ rejection: Rejection?, _ filter: PlacementFilter, _ wanted: String, _ found: String) {
    #expect(rejection == Rejection(host: "id-target", name: "target", filter: filter, wanted: wanted, found: found))
}

@Suite struct PlacementFilterTests {
    @Test func `takes a host that has all that is asked for`() {
        #expect(rejection(request(), load("target")) == nil)
    }

    @Test func `leaves out every host but the preferred one`() {
        expect(
            rejection(request(options: MigrationOptions(preferHost: "id-other")), load("target")), .preferred, "the preferred host",
            "another one")
        #expect(rejection(request(options: MigrationOptions(preferHost: "id-target")), load("target")) == nil)
    }

    @Test func `leaves out a host that this migration tried, with what happened there`() {
        let tried = request(excluded: ["id-target": Reason(.targetLost, "QEMU died.")])
        expect(rejection(tried, load("target")), .excluded, "a host not tried yet", "QEMU died.")
    }

    @Test func `leaves out a disabled host`() {
        expect(rejection(request(), load("target", enabled: false)), .enabled, "enabled", "disabled")
    }

    @Test func `leaves out a host whose last answer proves nothing any more`() {
        expect(rejection(request(), load("target", online: false)), .online, "online", "offline")
    }

    @Test func `leaves out a host that never told what it is`() {
        var silent = load("target")
        silent.host.facts = nil
        expect(rejection(request(), silent), .facts, "an agent that told what it is", "nothing told yet")
    }

    @Test func `counts vCPUs up to eight a core`() {
        #expect(rejection(request(), load("target", vcpus: 124)) == nil)
        expect(rejection(request(), load("target", vcpus: 125)), .vcpus, "4 vCPUs", "3 of 128 left")
    }

    @Test func `counts memory once`() {
        #expect(rejection(request(), load("target", memory: 56 * gib)) == nil)
        expect(rejection(request(), load("target", memory: 56 * gib + 1)), .memory, "8 GiB of memory", "8 GiB of 64 GiB left")
        expect(rejection(request(), load("target", memory: 60 * gib)), .memory, "8 GiB of memory", "4 GiB of 64 GiB left")
    }

    @Test func `wants the room that all disks together may need`() {
        #expect(rejection(request(), load("target", reserved: ["local": 160 * gib])) == nil)
        expect(
            rejection(request(), load("target", reserved: ["local": 160 * gib + 1])), .storage, "40 GiB on storage local",
            "40 GiB left")
        let second = GuestDescription.Disk(
            name: "disk1", sizeBytes: 170 * gib, format: .raw, bus: .virtioSCSI, storage: "local")
        expect(
            rejection(request { $0.disks.append(second) }, load("target")), .storage, "210 GiB on storage local", "200 GiB left")
    }

    @Test func `wants a storage of the same name and kind`() {
        let other = Storage(name: "fast", kind: .local, capacityBytes: gib, freeBytes: gib)
        expect(
            rejection(request(), load("target") { $0.storages = [other] }), .storage, "a local storage local", "fast (local)")
        expect(rejection(request(), load("target") { $0.storages = [] }), .storage, "a local storage local", "none")
        expect(
            rejection(request(), load("target") { $0.storages[0].kind = .shared }), .storage, "a local storage local",
            "local (shared)")
    }

    @Test func `asks no bytes of a shared storage, only that it is there`() {
        let shared = Storage(name: "ceph", kind: .shared, capacityBytes: gib, freeBytes: 0)
        let onCeph = request { $0.disks[0].storage = "ceph" }
        let source = load("source") { $0.storages = [shared] }
        #expect(rejection(onCeph, load("target") { $0.storages = [shared] }, source: source) == nil)
        expect(rejection(onCeph, load("target"), source: source), .storage, "the shared storage ceph", "local (local)")
    }

    @Test func `wants each network by name and kind`() {
        expect(rejection(request(), load("target") { $0.networks = [] }), .network, "network lan (bridge)", "none")
        expect(
            rejection(request(), load("target") { $0.networks[0].kind = .user }), .network, "network lan (bridge)", "lan (user)")
        let unknown = request { $0.nics[0].network = "dmz" }
        expect(rejection(unknown, load("target")), .network, "network dmz", "lan (bridge)")
    }

    @Test func `wants KVM for a guest that runs on it, and nothing for one that does not`() {
        expect(rejection(request(), load("target") { $0.accelerator = .tcg }), .accelerator, "KVM", "tcg only")
        let slow = request { $0.accelerator = .tcg }
        #expect(rejection(slow, load("target") { $0.accelerator = .tcg }) == nil)
        #expect(rejection(slow, load("target")) == nil)
    }

    @Test func `wants the same architecture in every mode`() {
        for mode in Mode.allCases {
            expect(
                rejection(request(mode: mode), load("target") { $0.architecture = "aarch64" }), .architecture, "x86_64", "aarch64")
        }
    }

    @Test func `wants the same page size for a live migration`() {
        let big = load("target") { $0.pageSizeBytes = 65536 }
        expect(rejection(request(), big), .pageSize, "pages of 4096 bytes", "pages of 65536 bytes")
        #expect(rejection(request(mode: .cold), big) == nil)
    }

    @Test func `wants the same CPU model unless that check is skipped`() {
        let other = load("target") { $0.cpuModel = "EPYC 7763" }
        expect(rejection(request(), other), .cpuModel, "CPU Xeon E5-2650 v2", "EPYC 7763")
        #expect(rejection(request(options: MigrationOptions(skipCPUCheck: true)), other) == nil)
        #expect(rejection(request(mode: .cold), other) == nil)
    }

    @Test func `wants the same microcode unless that check is skipped`() {
        let other = load("target") { $0.microcode = "" }
        expect(rejection(request(), other), .microcode, "microcode 0x42e", "unknown")
        #expect(rejection(request(options: MigrationOptions(skipCPUCheck: true)), other) == nil)
    }

    @Test func `wants the same kernel unless that check is skipped`() {
        let other = load("target") { $0.kernel = "6.12.1" }
        expect(rejection(request(), other), .kernel, "kernel 6.1.0-40-amd64", "6.12.1")
        #expect(rejection(request(options: MigrationOptions(skipKernelCheck: true)), other) == nil)
        #expect(rejection(request(options: MigrationOptions(skipCPUCheck: true)), other)?.filter == .kernel)
    }

    @Test func `wants the guest's CPU model to run there in full, also when the host check is skipped`() {
        let poor = load("target") { $0.guestCPUModels = ["qemu64-v1"] }
        let guest = request(options: MigrationOptions(skipCPUCheck: true)) { $0.cpuModel = "EPYC-v4" }
        expect(rejection(guest, poor), .guestCPU, "guest CPU EPYC-v4", "not among the 1 that its QEMU 7.2.22 runs in full")
        #expect(rejection(guest, load("target")) == nil)
    }

    @Test func `wants the guest's machine type`() {
        expect(
            rejection(request(), load("target") { $0.machineTypes = ["pc-q35-7.2"] }), .machineType, "machine type pc-i440fx-7.2",
            "not among the 1 of its QEMU 7.2.22")
    }

    @Test func `compares with nothing that a silent source did not tell`() {
        var source = load("source")
        source.host.facts = nil
        expect(
            rejection(request(), load("target"), source: source), .architecture, "the same architecture as source",
            "source has not told what it is")
    }
}

@Suite struct PlacementRankingTests {
    private func chosen(_ loads: [HostLoad], _ request: PlacementRequest = request()) -> HostID? {
        guard case .chosen(let host) = Placement.choose(request, among: [load("source")] + loads, now: now) else { return nil }
        return host
    }

    @Test func `prefers the host that stays freest`() {
        #expect(chosen([load("a", memory: 40 * gib), load("b", memory: 10 * gib), load("c", memory: 30 * gib)]) == "id-b")
        // The scarcest resource counts: a has memory in plenty and hardly a vCPU.
        #expect(chosen([load("a", vcpus: 120), load("b", memory: 30 * gib)]) == "id-b")
    }

    @Test func `prefers the host with fewer migrations under way among hosts about equally free`() {
        #expect(chosen([load("a", memory: 2 * gib, inbound: 2), load("b", memory: 3 * gib, inbound: 0)]) == "id-b")
        #expect(chosen([load("a", memory: 1 * gib, inbound: 2), load("b", memory: 50 * gib, inbound: 0)]) == "id-a")
    }

    @Test func `breaks ties by name`() {
        #expect(chosen([load("c"), load("a"), load("b")]) == "id-a")
    }

    @Test func `passes over the best host when it fails a costly filter`() {
        #expect(chosen([load("a") { $0.machineTypes = [] }, load("b", memory: 30 * gib)]) == "id-b")
        #expect(chosen([load("b", memory: 30 * gib), load("a") { $0.machineTypes = [] }]) == "id-b")
    }

    @Test func `a survey names every host once`() {
        let loads = [load("source"), load("a", memory: 30 * gib), load("b"), load("c", enabled: false)]
        let survey = Placement.survey(request(), among: loads, now: now)
        #expect(survey.candidates == ["id-b", "id-a"])
        #expect(survey.rejections.map(\.host) == ["id-source", "id-c"])
    }

    @Test func `ten thousand hosts are looked at in a moment`() {
        let loads = [load("source")] + (0..<10_000).map { load("h\($0)", vcpus: $0 % 100, memory: Int64($0 % 50) * gib) }
        let took = ContinuousClock().measure {
            guard case .chosen = Placement.choose(request(), among: loads, now: now) else {
                Issue.record("nothing chosen")
                return
            }
        }
        // A debug build on a busy machine; anything that grows with the square of the hosts takes minutes.
        #expect(took < .seconds(2), "\(took)")
    }
}

@Suite struct PlacementFailureTests {
    private func failure(_ loads: [HostLoad]) -> PlacementFailure {
        guard case .rejected(let rejections) = Placement.choose(request(), among: loads, now: now) else {
            Issue.record("a host was chosen")
            return PlacementFailure(server: "vm1", rejections: [])
        }
        return PlacementFailure(server: "vm1", rejections: rejections)
    }

    @Test func `tells one line a host`() {
        let failure = failure([load("source"), load("host12", vcpus: 126), load("host2", enabled: false)])
        #expect(
            failure.message == """
                No host can take vm1:
                  host12: wanted 4 vCPUs, found 2 of 128 left
                  host2:  wanted enabled, found disabled
                  source: wanted another host, found the server is there now
                """)
        #expect(failure.reason.code == .noHost)
    }

    @Test func `keeps the reason of the attempt before`() {
        let failure = failure([load("source")])
        let reason = failure.reason(after: Reason(.targetLost, "QEMU on host2 died."))
        #expect(reason.code == .targetLost)
        #expect(
            reason.message == """
                QEMU on host2 died.
                No host can take vm1:
                  source: wanted another host, found the server is there now
                """)
    }

    @Test func `counts the hosts that do not fit on a screen`() {
        let loads = (0..<100).map { load("h\($0)", vcpus: $0 < 70 ? 128 : 0, enabled: $0 >= 10) { $0.machineTypes = [] } }
        let lines = failure([load("source")] + loads).lines
        #expect(lines.count == PlacementFailure.linesAtMost + 1)
        #expect(lines.last?.hasPrefix("and 71 more: ") == true)
    }

    @Test func `says that there is no host`() {
        #expect(PlacementFailure(server: "vm1", rejections: []).message == "No host can take vm1: there is no host.")
    }

    @Test func `reserves what was looked for`() {
        let needs = Needs(request().description, storages: [])
        #expect(needs.localBytes == ["local": 40 * gib] && needs.hasLocalDisks)
        #expect(
            needs.reservation(of: "m1", on: "h1")
                == Reservation(
                    migration: "m1", host: "h1", vcpus: 4, memoryBytes: 8 * gib, storageBytes: ["local": 40 * gib]))
    }
}
