import AgentAPI
import Fleet
import Testing

@testable import Agent
@testable import Hypervisor

struct CommandLineTests {
    static func configuration(run: String = "/run/g") -> AgentConfiguration {
        AgentConfiguration(
            name: "a", listen: .init(address: "127.0.0.1", port: 0), stateDirectory: "/s", runDirectory: run,
            storages: [.init(name: "local", path: "/d")], tls: .init(authority: "", certificate: "", key: ""))
    }

    static func line(_ guest: GuestDescription, state: String = "/s", for purpose: CommandLine.Purpose = .boot) -> [String] {
        var configuration = configuration()
        configuration.stateDirectory = state
        let around = CommandLine.Surroundings(
            paths: HostPaths(configuration).of(guest.server),
            diskPaths: Dictionary(uniqueKeysWithValues: guest.disks.map { ($0.name, "\(state)/\($0.name).qcow2") }), directDisks: ["disk0"],
            attachments: ["nic0": .user, "nic1": .tap("gw1")], firmwareCode: "/usr/share/OVMF/OVMF_CODE_4M.fd",
            firmwareVariables: "\(state)/nvram.fd")
        return CommandLine.arguments(guest, around, for: purpose)
    }

    static func guest(_ machine: String = "pc-i440fx-7.2") -> GuestDescription {
        GuestDescription(
            server: "6f1c0e6e-0000-4000-8000-000000000001", name: "web", vcpus: 2, memoryBytes: (512 << 20) + (8 << 10),
            cpuModel: "qemu64-v1",
            machine: machine, accelerator: .tcg, firmware: .bios, boot: nil,
            disks: [
                .init(name: "disk0", sizeBytes: 1 << 30, format: .qcow2, bus: .virtioBlk, storage: "local"),
                .init(name: "disk1", sizeBytes: 1 << 30, format: .raw, bus: .virtioSCSI, storage: "local"),
                .init(name: "disk2", sizeBytes: 1 << 30, format: .qcow2, bus: .virtioBlk, storage: "local"),
            ], cdrom: "/iso/a,b.iso",
            nics: [
                .init(name: "nic0", network: "n", mac: "52:54:00:00:00:01"), .init(name: "nic1", network: "m", mac: "52:54:00:00:00:02"),
            ])
    }

    @Test(arguments: ["pc-i440fx-7.2", "pc-q35-7.2"])
    func `gives every device a slot of its own, the same at each build`(machine: String) {
        let line = Self.line(Self.guest(machine))
        #expect(line == Self.line(Self.guest(machine)))
        let slots = line.compactMap { argument in argument.split(separator: ",").first { $0.hasPrefix("addr=") } }
        #expect(slots.count == 5)
        #expect(Set(slots).count == 5)
        let bus = machine.contains("q35") ? "bus=pcie.0" : "bus=pci.0"
        #expect(line.filter { $0.contains("addr=") }.allSatisfy { $0.contains(bus) })
    }

    @Test func `differs between hosts and purposes only in paths and in waiting`() {
        let here = Self.line(Self.guest())
        let there = Self.line(Self.guest(), state: "/elsewhere", for: .incoming)
        #expect(there.contains("-incoming"))
        let rest = there.filter { $0 != "-incoming" && $0 != "defer" }.map { $0.replacing("/elsewhere", with: "/s") }
        #expect(rest == here)
    }

    @Test func `gives memory in kibibytes and keeps the machine's version`() {
        let line = Self.line(Self.guest())
        #expect(line.contains("524296k"))
        #expect(line.contains { $0.hasPrefix("pc-i440fx-7.2,") })
        #expect(line.contains { $0.contains("/iso/a,b.iso") && $0.contains("\"read-only\":true") })
        #expect(line.contains { $0.contains("\"node-name\":\"disk0\"") && $0.contains("\"direct\":true") })
        #expect(line.contains { $0.contains("\"node-name\":\"disk2\"") && $0.contains("\"direct\":false") })
    }

    @Test func `escapes commas where QEMU splits at them`() {
        let line = Self.line(Self.guest(), state: "/a,b")
        #expect(line.contains { $0.hasPrefix("file,id=console,path=/a,,b/guests/") })
    }

    @Test func `refuses a run folder whose sockets would have too long a path`() throws {
        try Self.configuration().validate()
        #expect(throws: AgentProblem.self) { try Self.configuration(run: "/" + String(repeating: "x", count: 90)).validate() }
    }

    @Test func `keeps every socket's path under 108 bytes`() {
        let longest = String(repeating: "x", count: 82)
        let paths = HostPaths(Self.configuration(run: "/" + longest)).of("s")
        #expect(paths.rescue.utf8.count < 108)
        #expect(throws: Never.self) { try Self.configuration(run: "/" + longest).validate() }
    }
}
