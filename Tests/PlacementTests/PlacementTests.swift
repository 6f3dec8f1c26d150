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
    _ name: String, vcpus: Int = 0, memory: Int64 = 0, reserved: [String: Int64] = [:], promised: [String: Int64] = [:],
    inbound: Int = 0, outbound: Int = 0, failures: Int = 0, enabled: Bool = true, maintenance: Bool = false, online: Bool = true,
    overcommit: Overcommit = .standard, change: (inout HostFacts) -> Void = { _ in }
) -> HostLoad {
    let host = Host(
        id: HostID("id-\(name)"), name: name, agentURL: "https://\(name):7070", enabled: enabled, maintenance: maintenance,
        overcommit: overcommit, healthyUntil: Timestamp(milliseconds: now.milliseconds + (online ? 1 : 0)), facts: facts(change))
    return HostLoad(
        host: host, vcpusTaken: vcpus, memoryTakenBytes: memory, storageReservedBytes: reserved, storagePromisedBytes: promised,
        inboundMigrations: inbound, outboundMigrations: outbound, recentFailures: failures)
}

private func request(
    mode: Mode = .live, options: MigrationOptions = MigrationOptions(), excluded: [HostID: Reason] = [:],
    companions: [GroupCompanion] = [], missing: [HostID: [String]] = [:], change: (inout GuestDescription) -> Void = { _ in }
) -> PlacementRequest {
    var description = GuestDescription(
        server: "vm1", name: "vm1", vcpus: 4, memoryBytes: 8 * gib, cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2",
        accelerator: .kvm, firmware: .bios, boot: nil,
        disks: [.init(name: "disk0", sizeBytes: 40 * gib, format: .qcow2, bus: .virtioBlk, storage: "local")], cdrom: nil,
        nics: [.init(name: "nic0", network: "lan", mac: "52:54:00:00:00:01")])
    change(&description)
    return PlacementRequest(
        server: "vm1", description: description, source: "id-source", mode: mode, options: options, excluded: excluded,
        companions: companions, missingFeatures: missing)
}

/// The rejection of the one host beside the source; nil when it is chosen.
private func rejection(_ request: PlacementRequest, _ target: HostLoad, source: HostLoad = load("source")) -> Rejection? {
    switch Placement.choose(request, among: [source, target], now: now) {
    case .chosen(let host):
        #expect(host == target.host.id)
        #expect(Placement.choose(request, in: FleetSnapshot([source, target]), now: now) == .chosen(host))
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

    @Test func `leaves out a host in maintenance`() {
        expect(rejection(request(), load("target", maintenance: true)), .maintenance, "not in maintenance", "in maintenance")
    }

    @Test func `promises as much of a host as is set for it`() {
        let generous = Overcommit(vcpus: 10, memory: 2)
        #expect(rejection(request(), load("target", vcpus: 156, memory: 120 * gib, overcommit: generous)) == nil)
        expect(rejection(request(), load("target", vcpus: 157, overcommit: generous)), .vcpus, "4 vCPUs", "3 of 160 left")
        expect(
            rejection(request(), load("target", memory: 28 * gib, overcommit: Overcommit(vcpus: 8, memory: 0.5))), .memory,
            "8 GiB of memory", "4 GiB of 32 GiB left")
    }

    @Test func `promises no more of a storage than it can hold, whatever its file system still has`() {
        #expect(rejection(request(), load("target", promised: ["local": 460 * gib])) == nil)
        expect(
            rejection(request(), load("target", promised: ["local": 461 * gib])), .storage, "40 GiB on storage local",
            "461 GiB of 500 GiB promised to disks")
        expect(
            rejection(request(), load("target", reserved: ["local": 100 * gib], promised: ["local": 400 * gib])), .storage,
            "40 GiB on storage local", "500 GiB of 500 GiB promised to disks")
    }

    @Test func `keeps apart what must stay apart, by where the others are and where they go`() {
        func other(on host: HostID, to target: HostID? = nil) -> [GroupCompanion] {
            [GroupCompanion(group: "web", policy: .apart, name: "vm2", host: host, target: target, isLeaving: target != nil)]
        }
        #expect(rejection(request(companions: other(on: "id-source")), load("target")) == nil)
        #expect(rejection(request(companions: other(on: "id-third", to: "id-fourth")), load("target")) == nil)
        expect(
            rejection(request(companions: other(on: "id-target")), load("target")), .group, "apart with vm2 (group web)",
            "vm2 is there")
        // Until it is gone it is there.
        expect(
            rejection(request(companions: other(on: "id-target", to: "id-third")), load("target")), .group,
            "apart with vm2 (group web)", "vm2 is there")
        expect(
            rejection(request(companions: other(on: "id-third", to: "id-target")), load("target")), .group,
            "apart with vm2 (group web)", "vm2 is on its way there")
    }

    @Test func `keeps together what must stay together`() {
        func other(on host: HostID, to target: HostID? = nil, leaving: Bool = false) -> [GroupCompanion] {
            [GroupCompanion(group: "db", policy: .together, name: "vm2", host: host, target: target, isLeaving: leaving || target != nil)]
        }
        #expect(rejection(request(companions: other(on: "id-target")), load("target")) == nil)
        #expect(rejection(request(companions: other(on: "id-source", to: "id-target")), load("target")) == nil)
        #expect(rejection(request(companions: other(on: "id-source", leaving: true)), load("target")) == nil)
        expect(
            rejection(request(companions: other(on: "id-source")), load("target")), .group, "together with vm2 (group db)",
            "vm2 is on another host")
        expect(
            rejection(request(companions: other(on: "id-target", to: "id-third")), load("target")), .group,
            "together with vm2 (group db)", "vm2 is on its way to another host")
    }

    @Test func `takes no more migrations into a host than it has slots, and none out of a source without one`() {
        expect(
            rejection(request(), load("target", inbound: 2)), .inbound, "a free slot for a migration into it", "2 of 2 taken")
        #expect(rejection(request(), load("target", inbound: 1)) == nil)
        expect(
            rejection(request(), load("target"), source: load("source", outbound: 2)), .outbound,
            "a free slot for a migration out of source", "2 of 2 taken")
        #expect(rejection(request(), load("target", outbound: 9)) == nil)
    }

    @Test func `says what it waits for where only slots are missing`() {
        func waits(_ loads: [HostLoad]) -> String? {
            guard case .rejected(let rejections) = Placement.choose(request(), among: loads, now: now) else { return "chosen" }
            return PlacementFailure(server: "vm1", rejections: rejections).waitsFor
        }
        #expect(
            waits([load("source"), load("b", inbound: 2), load("a", inbound: 2), load("c", enabled: false)])
                == "a free slot for a migration into a, b")
        #expect(
            waits([load("source", outbound: 2), load("a")]) == "a free slot for a migration out of source: 2 of 2 taken")
        #expect(waits([load("source"), load("a", enabled: false, online: false)]) == nil)
        // A slot would not help a host that has no memory left.
        #expect(waits([load("source"), load("a", memory: 64 * gib, inbound: 2)]) == nil)
    }

    @Test func `rescues no server that has a disk of the source's own`() {
        expect(
            rejection(request(mode: .rescue), load("target")), .localDisk, "every disk on shared storage",
            "disk0 is on local, which is source's own")
        let shared = Storage(name: "ceph", kind: .shared, capacityBytes: gib, freeBytes: 0)
        let onCeph = request(mode: .rescue) { $0.disks[0].storage = "ceph" }
        // What stuck when the source died takes no slot from those who leave it.
        let stuck = load("source", outbound: 2, online: false) { $0.storages = [shared] }
        #expect(Placement.choose(onCeph, among: [stuck, load("a") { $0.storages = [shared] }], now: now) == .chosen("id-a"))
        let source = load("source", online: false) { $0.storages = [shared] }
        #expect(rejection(onCeph, load("target") { $0.storages = [shared] }, source: source) == nil)
        #expect(rejection(request(mode: .rescue) { $0.disks = [] }, load("target")) == nil)
    }

    @Test func `takes another CPU when its features are asked for, unless its QEMU said that it lacks some`() {
        let other = load("target") {
            $0.cpuModel = "EPYC 7763"
            $0.microcode = "0x1"
        }
        let options = MigrationOptions(cpuCheck: .features)
        #expect(rejection(request(options: options), other) == nil)
        #expect(request(options: options).asksForFeatures)
        #expect(!request(options: MigrationOptions(cpuCheck: .features, skipCPUCheck: true)).asksForFeatures)
        #expect(!request(mode: .cold, options: options).asksForFeatures && !request().asksForFeatures)
        let lacking = request(options: options, missing: ["id-target": (1...8).map { "f\($0)" }])
        expect(
            rejection(lacking, other), .cpuFeatures, "every feature of the guest's CPU",
            "its QEMU lacks f1, f2, f3, f4, f5, f6 and 2 more")
    }

    @Test func `goes to no QEMU that is older than the guest's machine type`() {
        expect(
            rejection(request(), load("target") { $0.qemuVersion = "6.2.0" }), .qemuVersion,
            "QEMU 7.2 or newer, for pc-i440fx-7.2", "QEMU 6.2.0")
        #expect(rejection(request(), load("target") { $0.qemuVersion = "10.0.2" }) == nil)
        #expect(QEMURelease(machine: "pc") == nil && QEMURelease(version: "none") == nil)
        #expect(QEMURelease(version: "7.2.22").map(\.description) == "7.2")
    }

    @Test func `leaves out a host without what the guest boots by or is measured by`() {
        var wanted = request()
        (wanted.description.firmware, wanted.description.tpm) = (.uefi, .v2)
        expect(rejection(wanted, load("target") { $0.hasUEFI = false }), .firmware, "UEFI firmware (the package ovmf)", "none")
        expect(
            rejection(wanted, load("target") { ($0.hasUEFI, $0.hasTPM) = (true, false) }), .tpm,
            "an emulator for the server's TPM (the package swtpm)", "none")
        // An agent that does not tell is not left out.
        #expect(rejection(wanted, load("target")) == nil)
        #expect(rejection(request(), load("target") { ($0.hasUEFI, $0.hasTPM) = (false, false) }) == nil)
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
                rejection(request(mode: mode) { $0.disks = [] }, load("target") { $0.architecture = "aarch64" }), .architecture, "x86_64",
                "aarch64")
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
        #expect(chosen([load("a", memory: 2 * gib, inbound: 1), load("b", memory: 3 * gib, inbound: 0)]) == "id-b")
        #expect(chosen([load("a", memory: 1 * gib, inbound: 1), load("b", memory: 50 * gib, inbound: 0)]) == "id-a")
    }

    @Test func `counts migrations in and out alike`() {
        #expect(chosen([load("a", inbound: 1), load("b", outbound: 2), load("c", inbound: 1, outbound: 1)]) == "id-a")
        #expect(chosen([load("a", outbound: 2), load("b", inbound: 1)]) == "id-b")
    }

    @Test func `takes a failure lately for a twentieth less of a host`() {
        #expect(chosen([load("a", failures: 1), load("b")]) == "id-b")
        #expect(chosen([load("a", failures: 3), load("b", memory: 20 * gib)]) == "id-a")
        #expect(chosen([load("a", failures: 10), load("b", memory: 20 * gib)]) == "id-b")
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
        let survey = Placement.survey(request(), in: FleetSnapshot(loads), now: now)
        #expect(survey.candidates == ["id-b", "id-a"])
        #expect(survey.rejections.map(\.host) == ["id-c", "id-source"])
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

    @Test func `tells one line a host, in columns`() {
        let failure = failure([load("source"), load("host12", vcpus: 126), load("host2", enabled: false)])
        #expect(
            failure.message == """
                No host can take vm1:
                  host    filter      wanted        found
                  host12  vcpus       4 vCPUs       2 of 128 left
                  host2   enabled     enabled       disabled
                  source  not-source  another host  the server is there now
                """)
        #expect(failure.reason.code == .noHost)
        #expect(failure.rows.first == ["host12", "vcpus", "4 vCPUs", "2 of 128 left"])
    }

    @Test func `keeps the reason of the attempt before`() {
        let failure = failure([load("source")])
        let reason = failure.reason(after: Reason(.targetLost, "QEMU on host2 died."))
        #expect(reason.code == .targetLost)
        #expect(
            reason.message == """
                QEMU on host2 died.
                No host can take vm1:
                  host    filter      wanted        found
                  source  not-source  another host  the server is there now
                """)
    }

    @Test func `cuts a cell that would make the table too wide`() {
        let tried = request(excluded: ["id-target": Reason(.targetLost, String(repeating: "x", count: 200) + "\nmore")])
        guard let rejection = rejection(tried, load("target")) else { return }
        let cell = PlacementFailure(server: "vm1", rejections: [rejection]).rows[0][3]
        #expect(cell.count == PlacementFailure.cellAtMost && cell.hasSuffix("x…"))
    }

    @Test func `counts the hosts that do not fit on a screen`() {
        let loads = (0..<100).map { load("h\($0)", vcpus: $0 < 70 ? 128 : 0, enabled: $0 >= 10) { $0.machineTypes = [] } }
        let lines = failure([load("source")] + loads).lines
        #expect(lines.count == PlacementFailure.linesAtMost + 2)
        #expect(lines.last?.hasPrefix("and 71 more: ") == true)
    }

    @Test func `says that there is no host`() {
        #expect(PlacementFailure(server: "vm1", rejections: []).message == "No host can take vm1: there is no host.")
    }

    @Test func `counts a base image in where it is known to be missing, and rejects nobody for that alone`() {
        let base = GuestDescription.BaseImage(name: "b.qcow2", format: .qcow2, sizeBytes: 100 * gib)
        var asked = request()
        asked.description.disks[0].bases = [base]
        func host(_ name: String, _ bases: [String]?, free: Int64 = 200 * gib) -> HostLoad {
            load(name) {
                $0.storages[0].bases = bases
                $0.storages[0].freeBytes = free
            }
        }
        let hosts = [
            load("source"), host("has", ["b.qcow2"], free: 50 * gib), host("lacks", []), host("silent", nil),
            host("full", ["a.qcow2"], free: 139 * gib),
        ]
        let survey = Placement.survey(asked, in: FleetSnapshot(hosts), now: now)
        #expect(Set(survey.candidates) == ["id-has", "id-lacks", "id-silent"])
        let full = survey.rejections.first { $0.name == "full" }
        #expect(full?.filter == .storage && full?.wanted.hasPrefix("140") == true, "\(String(describing: full))")
        let needs = Needs(asked.description, storages: [])
        for (name, gibs) in [("has", Int64(40)), ("lacks", 140), ("silent", 40)] {
            let storages = hosts.first { $0.host.name == name }?.host.facts?.storages ?? []
            #expect(needs.reservation(of: "m1", on: "h", storages: storages).storageBytes == ["local": gibs * gib])
        }
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

@Suite struct FleetSnapshotTests {
    /// Numbers from a seed, so that a failure can be run again.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9e37_79b9_7f4a_7c15
            var z = state
            z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
            z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
            return z ^ (z >> 31)
        }
    }

    private func loads(_ count: Int, _ generator: inout Seeded) -> [HostLoad] {
        func one(in number: Int) -> Bool { Int.random(in: 0..<number, using: &generator) == 0 }
        return (0..<count).map { number in
            var load = load(
                "h\(number)", vcpus: Int.random(in: 0..<130, using: &generator),
                memory: Int64.random(in: 0..<66, using: &generator) * gib, reserved: one(in: 9) ? ["local": 180 * gib] : [:],
                promised: one(in: 9) ? ["local": 480 * gib] : [:], inbound: Int.random(in: 0..<3, using: &generator),
                outbound: Int.random(in: 0..<3, using: &generator), failures: Int.random(in: 0..<3, using: &generator),
                enabled: !one(in: 9), maintenance: one(in: 9), online: !one(in: 9)
            ) { facts in
                if one(in: 5) { facts.cpuModel = "EPYC" }
                if one(in: 5) { facts.kernel = "6.12" }
                if one(in: 5) { facts.networks = [] }
                if one(in: 5) { facts.machineTypes.removeAll() }
                if one(in: 9) { facts.storages[0].kind = .shared }
            }
            if one(in: 9) { load.host.facts = nil }
            return load
        }
    }

    /// The quick way to one host and the long way that explains every other must never tell two stories.
    @Test(arguments: 0..<40) func `chooses what the survey ranks first, whichever way it looks`(_ seed: Int) {
        var generator = Seeded(state: UInt64(seed))
        let all = [load("source", outbound: seed % 3)] + loads(40, &generator)
        let asked = request(
            mode: Mode.allCases[seed % 3], excluded: ["id-h3": Reason(.targetLost, "lost")],
            companions: [GroupCompanion(group: "g", policy: .apart, name: "vm2", host: "id-h5")], missing: ["id-h7": ["avx"]])
        let survey = Placement.survey(asked, in: FleetSnapshot(all), now: now)
        let expected: PlacementOutcome = survey.candidates.first.map { .chosen($0) } ?? .rejected(survey.rejections)
        #expect(survey.candidates.count + survey.rejections.count == all.count)
        #expect(Placement.choose(asked, in: FleetSnapshot(all), now: now) == expected)
        #expect(Placement.choose(asked, among: all.sorted { $0.host.name < $1.host.name }, now: now) == expected)
    }

    @Test func `hosts that a filter could tell apart are of different kinds, and figures make no kind`() throws {
        let facts = try #require(load("a").host.facts)
        func isOther(_ change: (inout HostFacts) -> Void) -> Bool {
            var other = facts
            change(&other)
            return HostKind(other) != HostKind(facts)
        }
        let telling: [(inout HostFacts) -> Void] = [
            { $0.architecture = "aarch64" }, { $0.cpuModel = "EPYC" }, { $0.microcode += "1" }, { $0.kernel = "6.12" },
            { $0.qemuVersion = "8.0.0" }, { $0.machineTypes.removeLast() }, { $0.guestCPUModels.append("EPYC-v1") },
            { $0.accelerator = .tcg }, { $0.pageSizeBytes *= 2 }, { $0.storages[0].kind = .shared }, { $0.storages[0].name = "other" },
            { $0.storages.removeLast() }, { $0.networks[0].kind = .user }, { $0.networks.removeLast() }, { $0.hasUEFI = false },
            { $0.hasTPM = true },
        ]
        for (number, change) in telling.enumerated() { #expect(isOther(change), "\(number)") }
        #expect(
            !isOther {
                $0.cpus += 1
                $0.memoryBytes += gib
                $0.storages[0].freeBytes -= gib
                $0.storages[0].capacityBytes += gib
                $0.warnings.append("a warning")
            })
    }

    @Test func `knows what it was told of a reservation, and of its end`() {
        var fleet = FleetSnapshot([load("source", vcpus: 4, memory: 8 * gib, promised: ["local": 40 * gib]), load("target")])
        let reservation = Needs(request().description, storages: []).reservation(of: "m1", on: "id-target")
        fleet.hold(reservation, from: "id-source")
        #expect(
            fleet["id-target"]
                == load("target", vcpus: 4, memory: 8 * gib, reserved: ["local": 40 * gib], inbound: 1))
        #expect(fleet["id-source"]?.outboundMigrations == 1)
        fleet.settle(reservation, from: "id-source")
        #expect(
            fleet["id-target"]
                == load("target", vcpus: 4, memory: 8 * gib, reserved: ["local": 0], promised: ["local": 40 * gib]))
        #expect(fleet["id-source"] == load("source", promised: ["local": 0]))
    }

    @Test func `fills hosts one after the other until none is left`() {
        var fleet = FleetSnapshot([load("source")] + (0..<3).map { load("h\($0)", memory: 48 * gib) })
        var hosts: [HostID] = []
        for number in 0..<10 {
            guard case .chosen(let host) = Placement.choose(request(), in: fleet, now: now) else { break }
            hosts.append(host)
            let reservation = Needs(request().description, storages: []).reservation(of: MigrationID("m\(number)"), on: host)
            fleet.hold(reservation, from: "id-source")
            fleet.settle(reservation, from: "id-source")
        }
        #expect(hosts == ["id-h0", "id-h1", "id-h2", "id-h0", "id-h1", "id-h2"])
    }
}
