import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `A migration by the typed commands` {
    @Test func `carries disk and memory over and hands the guest on`() async throws {
        try await withPair { source, target, folder in
            let (sourceEvents, targetEvents) = (source.events(), target.events())
            try await source.cont()

            let export = "\(folder)/nbd"
            try await target.nbdServerStart(["type": "unix", "data": ["path": .string(export)]])
            try await target.blockExportAdd(id: "export0", nodeName: "disk0", name: "d0", writable: true)
            #expect(try await target.queryBlockExports().map(\.id) == ["export0"])
            try await source.blockdevAdd([
                "driver": "nbd", "node-name": "nbd0", "export": "d0", "server": ["type": "unix", "path": .string(export)],
            ])
            let node = try #require(try await source.queryNamedBlockNodes().first { $0.nodeName == "nbd0" })
            #expect(node.driver == "nbd")
            #expect(node.image.virtualSize == diskSize)
            #expect(node.image.actualSize == nil)

            try await source.blockdevMirror(
                jobID: "mirror-1", device: "disk0", target: "nbd0", sync: .full, speed: 65536, copyMode: .background, autoDismiss: false)
            let slow = try #require(try await source.queryBlockJobs().first)
            #expect(slow.device == "mirror-1")
            #expect(slow.type == "mirror")
            #expect(slow.speed == 65536)
            #expect(slow.len == diskSize)
            #expect(slow.offset < diskSize)
            #expect(!slow.ready)
            #expect(slow.ioStatus == "ok")
            let early = await #expect(throws: QMPError.self) { try await source.blockdevDel("nbd0") }
            #expect(early?.reason == "Node nbd0 is in use")
            try await source.blockJobSetSpeed("mirror-1", speed: 0)
            #expect(try await next("BLOCK_JOB_READY", of: sourceEvents).data["device"] == "mirror-1")
            let ready = try #require(try await source.queryBlockJobs().first)
            #expect(ready.ready)
            #expect(ready.offset == ready.len)

            let memory = try socketPair()
            try await target.sendDescriptor(memory.0, name: "memory")
            try await target.migrateIncoming(uri: "fd:memory")
            try await source.sendDescriptor(memory.1, name: "memory")
            close(memory.0)
            close(memory.1)
            try await source.migrate(uri: "fd:memory")
            try await migration("pre-switchover", of: sourceEvents)
            let waiting = try await source.queryMigrate()
            #expect(waiting.status == "pre-switchover")
            #expect(waiting.ram?.total ?? 0 > 16 << 20)
            #expect(waiting.ram?.pageSize == 4096)
            #expect(waiting.ram?.transferred ?? 0 > 0)
            #expect(waiting.expectedDowntime != nil)
            #expect(try await source.queryStatus().running == false)
            #expect(try await target.queryMigrate().status == "active")

            try await source.blockJobCancel("mirror-1")
            try await eventually("the mirror's conclusion") { try await source.queryJobs().first?.status == "concluded" }
            let job = try #require(try await source.queryJobs().first)
            #expect(job.id == "mirror-1")
            #expect(job.error == nil)
            #expect(job.currentProgress == job.totalProgress)
            try await source.jobDismiss("mirror-1")
            #expect(try await source.queryBlockJobs() == [])
            try await target.blockExportDel("export0", mode: .hard)
            try await eventually("the export's end") { try await target.queryBlockExports().isEmpty }

            try await source.migrateContinue()
            try await migration("completed", of: sourceEvents)
            try await migration("completed", of: targetEvents)
            let done = try await source.queryMigrate()
            #expect(done.status == "completed")
            #expect(done.totalTime != nil)
            #expect(done.downtime != nil)
            #expect(done.setupTime != nil)
            #expect(done.errorDesc == nil)
            #expect(try await source.queryStatus() == decoded(["status": "postmigrate", "running": false]))
            #expect(try await target.queryStatus() == decoded(["status": "paused", "running": false]))
            try await target.cont()
            _ = try await next("RESUME", of: targetEvents)
            #expect(try await target.queryStatus().running)
            try await target.announceSelf(rounds: 1)

            try await source.blockdevDel("nbd0")
            try await target.nbdServerStop()
            try await source.quit()
            try await target.quit()
            #expect(try bytes(of: "\(folder)/source.img") == bytes(of: "\(folder)/target.img"))
        }
    }

    @Test func `can be cancelled and the guest runs on`() async throws {
        try await withPair { source, target, _ in
            let events = source.events()
            try await source.cont()
            try await source.migrateSetParameters(["max-bandwidth": 4096])
            let memory = try socketPair()
            try await target.sendDescriptor(memory.0, name: "memory")
            try await target.migrateIncoming(uri: "fd:memory")
            try await source.sendDescriptor(memory.1, name: "memory")
            close(memory.0)
            close(memory.1)
            try await source.migrate(uri: "fd:memory")
            try await migration("active", of: events)
            let again = await #expect(throws: QMPError.self) { try await source.migrate(uri: "fd:memory") }
            #expect(again?.reason == "There's a migration process in progress")
            try await source.migrateCancel()
            try await migration("cancelled", of: events)
            #expect(try await source.queryStatus().running)
        }
    }

    @Test func `that is yanked fails and the guest runs on`() async throws {
        try await withPair { source, target, _ in
            let events = source.events()
            try await source.cont()
            try await source.migrateSetParameters(["max-bandwidth": 4096])
            let memory = try socketPair()
            try await target.sendDescriptor(memory.0, name: "memory")
            try await target.migrateIncoming(uri: "fd:memory")
            try await source.sendDescriptor(memory.1, name: "memory")
            close(memory.0)
            close(memory.1)
            try await source.migrate(uri: "fd:memory")
            try await migration("active", of: events)
            try await source.yank([.migration])
            try await migration("failed", of: events)
            #expect(try await source.queryMigrate().status == "failed")
            #expect(try await source.queryStatus().running)
        }
    }

    @Test func `that was given up leaves a job with its error`() async throws {
        try await withPair { source, target, folder in
            let export = "\(folder)/nbd"
            try await target.nbdServerStart(["type": "unix", "data": ["path": .string(export)]])
            try await target.blockExportAdd(id: "export0", nodeName: "disk0", writable: true)
            try await source.blockdevAdd([
                "driver": "nbd", "node-name": "nbd0", "export": "disk0", "server": ["type": "unix", "path": .string(export)],
            ])
            try await source.blockdevMirror(jobID: "m", device: "disk0", target: "nbd0", sync: .top, speed: 4096, autoDismiss: false)
            try await source.yank([.blockNode("nbd0")], deadline: .seconds(5))
            // It ends by itself when a request was under way, and not when it sleeps because of its speed.
            do {
                try await source.blockJobCancel("m", force: true)
            } catch let error as QMPError {
                #expect(error.reason == "Job 'm' in state 'concluded' cannot accept command verb 'cancel'")
            }
            try await eventually("the mirror's conclusion") { try await source.queryBlockJobs().first?.status == "concluded" }
            #expect(try await source.queryBlockJobs().first?.error != nil)
            try await source.jobDismiss("m")
            try await source.blockdevDel("nbd0")
        }
    }

    @Test func `is set up by capabilities and parameters`() async throws {
        try await withClient { client, _ in
            #expect(try await client.queryMigrate() == decoded([:]), "nothing is known before the first")
            try await client.migrateSetCapabilities(["auto-converge": true, "events": false])
            let capabilities = try await client.queryMigrateCapabilities()
            #expect(capabilities["auto-converge"] == true)
            #expect(capabilities["events"] == false)
            let unknown = await #expect(throws: QMPError.self) { try await client.migrateSetCapabilities(["no-such": true]) }
            #expect(unknown?.code == .command)
            try await client.migrateSetParameters(["max-bandwidth": 1_000_000, "downtime-limit": 30, "max-cpu-throttle": 80])
            let parameters = try await client.queryMigrateParameters()
            #expect(parameters.maxBandwidth == 1_000_000)
            #expect(parameters.downtimeLimit == 30)
            #expect(parameters.maxCPUThrottle == 80)
            #expect(parameters.tlsCreds == "")
        }
    }
}

/// More than a mirror has under way at once (16 MiB), so that a slow one can be seen under way.
private let diskSize = 32 << 20

/// Two PCs, the second one waiting for the first one's guest, each with a disk; the first one's has something on it.
private func withPair(_ body: (QMPClient, QMPClient, String) async throws -> Void) async throws {
    try await withFolder { folder in
        func machine(_ image: String) -> [String] {
            smallPC + [
                "-blockdev", "driver=file,filename=\(folder)/\(image),node-name=disk0,discard=unmap", "-device",
                "virtio-blk-pci,drive=disk0,id=vda",
                "-netdev", "hubport,hubid=0,id=net0", "-device", "virtio-net-pci,netdev=net0,id=nic0",
            ]
        }
        try makeDisk("\(folder)/source.img", marks: 1...255)
        try makeDisk("\(folder)/target.img", marks: [])
        try await withClient(machine("source.img")) { source, _ in
            try await withClient(machine("target.img") + ["-incoming", "defer"]) { target, _ in
                for client in [source, target] {
                    try await client.migrateSetCapabilities(["events": true, "pause-before-switchover": true, "return-path": true])
                }
                try await source.migrateSetParameters(["max-bandwidth": 0, "downtime-limit": 300])
                try await body(source, target, folder)
            }
        }
    }
}

private func migration(_ status: String, of events: AsyncStream<QMPEvent>) async throws {
    while try await next("MIGRATION", of: events, within: .seconds(30)).data["status"]?.string != status {}
}

/// What QEMU would be understood to say by that.
private func decoded<Value: Decodable>(_ value: JSONValue) throws -> Value {
    try value.decode()
}

private func socketPair() throws -> (Int32, Int32) {
    var pair: [Int32] = [-1, -1]
    try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
    return (pair[0], pair[1])
}

/// A disk of zeroes with 64 KiB of each mark at places apart.
private func makeDisk(_ path: String, marks: some Sequence<UInt8>) throws {
    let file = try #require(fopen(path, "w"))
    defer { fclose(file) }
    for mark in marks {
        let block = [UInt8](repeating: mark, count: 65536)
        try #require(fseek(file, Int(mark) * 131_072, SEEK_SET) == 0)
        try #require(fwrite(block, 1, block.count, file) == block.count)
    }
    try #require(fflush(file) == 0 && ftruncate(fileno(file), diskSize) == 0)
}

private func bytes(of path: String) throws -> [UInt8] {
    let file = try #require(fopen(path, "r"))
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: diskSize)
    try #require(fread(&bytes, 1, bytes.count, file) == bytes.count)
    return bytes
}
