import Fleet
import Placement
import Testing

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
