import Client
import Fleet
import Foundation
import Testing

@testable import Output
@testable import godwit

@Suite struct OutputTests {
    private let migration = MigrationView(
        id: "m1", server: Named(id: "s1", name: "vm1"), mode: .live, state: .failed, direction: .forward, attempt: 2, maxAttempts: 3,
        sourceHost: Named(id: "h1", name: "host1"), targetHost: Named(id: "h2", name: ""), reason: Reason(.targetLost, "host2 went away."),
        blackout: BlackoutView(lastPassUS: 1200, diskDrainUS: 300, deviceStateUS: 50_000, handoverUS: 9000, resumeUS: 900, totalUS: 61_400),
        actor: "admin", createdAt: WireTime(Timestamp(milliseconds: 0)), totalMS: 4200)

    private let history = [
        TransitionView(
            sequence: 1, migration: "m1", server: Named(id: "s1", name: "vm1"), mode: .live, at: WireTime(Timestamp(milliseconds: 1000)),
            from: nil, to: .pending, direction: .forward, attempt: 0, epoch: 1,
            sourceHost: Named(id: "h1", name: "host1"), actor: "admin"),
        TransitionView(
            sequence: 2, migration: "m1", server: Named(id: "s1", name: "vm1"), mode: .live, at: WireTime(Timestamp(milliseconds: 3500)),
            from: .pending, to: .scheduling, direction: .rollback, attempt: 1,
            epoch: 2, sourceHost: Named(id: "h1", name: "host1"), targetHost: Named(id: "h2", name: "host2"), actor: "w1", step: "mirror",
            numbers: ["disk_bytes": 5, "a_ms": 7]),
    ]

    @Test func `a migration with its history is one object that reads back`() throws {
        let text = try OutputFormat.json.text(MigrationStory(migration: migration, history: history), table: "")
        #expect(try JSONDecoder().decode(MigrationView.self, from: Data(text.utf8)) == migration)
        let object = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        #expect((object?["history"] as? [Any])?.count == 2)
        #expect(text.hasSuffix("}\n"))
    }

    @Test func `YAML says the same, keys sorted`() throws {
        let text = try OutputFormat.yaml.text(MigrationStory(migration: migration, history: history), table: "")
        let lines = text.split(separator: "\n")
        #expect(lines.first == "actor: admin")
        #expect(lines.contains("state: failed"))
        #expect(lines.contains("history:"))
    }

    @Test func `a list is an array`() throws {
        let text = try OutputFormat.json.text([migration], table: "")
        #expect(try JSONDecoder().decode([MigrationView].self, from: Data(text.utf8)) == [migration])
        #expect(try OutputFormat.json.text([MigrationView](), table: "").filter { !$0.isWhitespace } == "[]")
    }

    @Test func `a migration's table tells reason and blackout, part by part`() {
        let text = MigrationTables.one(migration)
        #expect(text.contains("| reason      | target-lost: host2 went away."))
        #expect(text.contains("| target_host | h2 "), "an id stands for a host whose name is gone")
        #expect(text.contains("| blackout    | 61.4 ms"))
        #expect(text.contains("|             |   device state 50.0 ms"))
        #expect(text.contains("| total       | 4.2 s"))
        #expect(text.contains("max_bandwidth_mb: none") && text.contains("downtime_limit_ms: 300"), "options at their default are told too")
        #expect(!text.contains("auto_start"), "one that has no meaning for a live migration is not")
    }

    @Test func `a failed migration ends a command with its reason`() throws {
        let failure = #expect(throws: CommandFailure.self) { try MigrationWatching.requireReady(migration) }
        #expect(failure == .failed("Migration m1 of vm1 failed (target-lost): host2 went away."))
        var ready = migration
        ready.state = .ready
        try MigrationWatching.requireReady(ready)
    }

    @Test func `a history tells times, states and numbers`() {
        let lines = MigrationTables.history(history).split(separator: "\n")
        #expect(lines.contains { $0.contains("1970-01-01T00:00:01.000Z") && $0.contains("pending") && $0.contains("admin") })
        #expect(lines.contains { $0.contains("2.500 s") && $0.contains("scheduling (rollback)") && $0.contains("a_ms=7") })
        #expect(lines.contains { $0.contains("disk_bytes=5") })
    }

    @Test func `a server's migration and note show only where there are any`() {
        func server(_ name: String, note: Reason? = nil) -> ServerView {
            ServerView(
                id: "id-\(name)", name: name, status: .running, host: Named(id: "h1", name: "host1"), vcpus: 2, memoryMB: 512,
                cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2", accelerator: .tcg, firmware: .bios,
                disks: [DiskView(name: "disk0", sizeBytes: 10 << 30, format: .qcow2, bus: .virtioBlk, storage: "local")], epoch: 1,
                note: note,
                createdAt: WireTime(Timestamp(milliseconds: 0)))
        }
        let plain = ServerTables.columns.table([server("vm1")]).text
        #expect(!plain.contains("Note") && !plain.contains("machine") && plain.contains("| 10G  |"))
        let noted = ServerTables.columns.table(
            [server("vm1"), server("vm2", note: Reason(.guestStopped, "It ended."))], details: true
        ).text
        #expect(noted.contains("It ended.") && noted.contains("pc-i440fx-7.2"))
    }
}
