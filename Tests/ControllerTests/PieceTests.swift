import Client
import Fleet
import Foundation
import Testing

@testable import Client
@testable import Controller

struct MACAddressTests {
    @Test(arguments: ["52:54:00:12:34:56", "00:00:00:00:00:01", "fe:ff:ff:ff:ff:ff"])
    func `an address of one card is taken`(text: String) {
        #expect(MACAddress(text)?.description == text)
    }

    @Test(arguments: [
        "", "52:54:00:12:34", "52:54:00:12:34:56:78", "52-54-00-12-34-56", "5:54:00:12:34:56", "52:54:00:12:34:5g", "52:54:00:12:34:+1",
        "01:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", " 52:54:00:12:34:56",
    ])
    func `anything else is not`(text: String) {
        #expect(MACAddress(text) == nil)
    }
}

struct EventParserTests {
    @Test func `events come whole, whatever pieces their bytes come in`() {
        let text = ": hello\n\nevent: migration\r\nid: 7\r\ndata: a\r\ndata:  b\r\n\r\nevent: nothing\n\ndata: c\n\ndata: cut"
        for size in [1, 2, 3, 7, text.utf8.count] {
            var parser = EventParser()
            var events: [EventParser.Event] = []
            let bytes = Array(text.utf8)
            for start in stride(from: 0, to: bytes.count, by: size) {
                events += parser.feed(bytes[start..<min(start + size, bytes.count)])
            }
            #expect(events == [EventParser.Event(name: "migration", data: "a\n b"), EventParser.Event(name: "message", data: "c")])
        }
    }
}

struct WireTimeTests {
    @Test(arguments: [0, 1, 999, 1_700_000_000_123, 1_772_366_400_007, 4_102_444_799_999] as [Int64])
    func `a time is the same after the wire, to the millisecond`(milliseconds: Int64) throws {
        let time = WireTime(Timestamp(milliseconds: milliseconds))
        let json = try JSONEncoder().encode([time])
        #expect(try JSONDecoder().decode([WireTime].self, from: json) == [time])
        #expect(time.description.hasSuffix("Z"))
        #expect(time.description.count == 24)
    }

    @Test func `times without milliseconds are read, others refused`() throws {
        let read = try JSONDecoder().decode([WireTime].self, from: Data(#"["2026-03-01T12:00:00Z"]"#.utf8))
        #expect(read[0].description == "2026-03-01T12:00:00.000Z")
        #expect(throws: DecodingError.self) { try JSONDecoder().decode([WireTime].self, from: Data(#"["yesterday"]"#.utf8)) }
    }
}

struct HostChoiceTests {
    private func load(_ name: String, freeMB: Int64 = 1024, online: Bool = true, _ change: (inout HostLoad) -> Void = { _ in }) -> HostLoad
    {
        var load = HostLoad(
            host: Host(
                id: HostID(name), name: name, agentURL: "", enabled: true, healthyUntil: Timestamp(milliseconds: online ? 2 : 0),
                facts: .sample(memoryMB: freeMB)))
        change(&load)
        return load
    }

    private func choice(_ spec: ServerSpec, _ loads: [HostLoad]) -> HostChoice {
        HostChoice(for: spec, among: loads, at: Timestamp(milliseconds: 1))
    }

    @Test func `hosts come by free memory, then by name`() {
        let taken = load("c", freeMB: 4096) { $0.memoryTakenBytes = 3500 << 20 }
        let fit = choice(ServerSpec(name: "s"), [load("b"), load("a"), load("d", freeMB: 2048), taken]).fit
        #expect(fit.map(\.host.name) == ["d", "a", "b", "c"])
    }

    @Test func `each host that cannot says why`() {
        let spec = ServerSpec(
            name: "s", vcpus: 4, memoryMB: 512, machine: "q35", accelerator: .kvm, disks: [DiskSpec(sizeBytes: 1 << 30, storage: "pool")],
            nics: [NICSpec(network: "lan")])
        let able: (inout HostLoad) -> Void = { $0.host.facts?.accelerator = .kvm }
        let loads = [
            load("fits", able), load("offline", online: false), load("silent") { $0.host.facts = nil },
            load("disabled") { $0.host.enabled = false }, load("busy") { $0.vcpusTaken = 30 }, load("full", freeMB: 500),
            load("apart") { $0.host.facts?.networks = [] }, load("slow"),
            load("old") {
                able(&$0)
                $0.host.facts?.machineAliases = [:]
            },
            load("bare") {
                able(&$0)
                $0.host.facts?.storages = []
            },
            load("reserved") {
                able(&$0)
                $0.storageReservedBytes["pool"] = 1 << 39
            },
        ]
        let choice = choice(spec, loads)
        #expect(choice.fit.map(\.host.name) == ["fits"])
        let why = Dictionary(uniqueKeysWithValues: choice.unfit)
        #expect(
            why == [
                "offline": "is offline", "silent": "is offline", "disabled": "is disabled", "busy": "has 2 of 4 vCPUs to give",
                "full": "has 500 of 512 MiB memory to give", "apart": "is not attached to the network lan",
                "slow": "cannot run guests with KVM",
                "old": "has no machine type q35", "bare": "has no storage pool", "reserved": "has not the room for disks of 1024 MiB",
            ])
    }

    @Test func `disks go where the most room is left, one after the other`() {
        let spec = ServerSpec(
            name: "s", disks: [DiskSpec(sizeBytes: 40 << 30), DiskSpec(sizeBytes: 15 << 30), DiskSpec(sizeBytes: 8 << 30)])
        #expect(HostChoice.storages(for: spec, on: load("a")) == ["local", "spare", "local"])
        #expect(HostChoice.storages(for: ServerSpec(name: "s", disks: [DiskSpec(sizeBytes: 51 << 30)]), on: load("a")) == nil)
    }
}
