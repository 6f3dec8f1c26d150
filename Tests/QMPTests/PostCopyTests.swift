import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `A post-copy by the typed commands` {
    @Test func `switches early, breaks, is joined anew past a main loop that waits for memory, and ends`() async throws {
        try await withClient(smallPC) { source, _ in
            try await withQEMU(smallPC + ["-incoming", "defer"]) { qemu in
                let target = try await qemu.connect()
                let rescue = try await qemu.connectRescue()
                defer { for client in [target, rescue] { client.close() } }
                for client in [source, target] {
                    try await client.migrateSetCapabilities(["events": true, "return-path": true, "postcopy-ram": true])
                }
                try await source.migrateSetCapabilities(["pause-before-switchover": true])
                try await source.migrateSetParameters(["max-bandwidth": 65536, "max-postcopy-bandwidth": 65536, "downtime-limit": 1])
                #expect(try await source.queryMigrateParameters().maxPostcopyBandwidth == 65536)
                try await source.cont()
                let early = await #expect(throws: QMPError.self) { try await source.migratePause() }
                #expect(early?.code == .command)
                try await Self.join(source, target, name: "first") { name in
                    try await target.migrateIncoming(uri: "fd:" + name)
                    try await source.migrate(uri: "fd:" + name)
                }
                try await eventually("memory flows") { try await source.queryMigrate().status == "active" }
                try await source.migrateStartPostCopy()
                try await eventually("the last pass") { try await source.queryMigrate().status == "pre-switchover" }
                try await source.migrateContinue()
                try await eventually("the target can run") {
                    let state = try await target.queryStatus().status
                    return try await target.queryMigrate().status == "postcopy-active" && state == "paused"
                }
                let events = target.events()
                try await target.cont()
                // Reads all memory on the main loop, which hangs at the first page that is missing.
                async let read = target.execute(
                    "pmemsave", ["val": 0, "size": 16_384_000, "filename": "/dev/null"], deadline: .seconds(60))
                try await rescue.migratePause(outOfBand: true)
                try #require(await events.contains { $0.name == "MIGRATION" && $0.data["status"]?.string == "postcopy-paused" })
                try await eventually("a break") { try await source.queryMigrate().status == "postcopy-paused" }
                let hanging = await #expect(throws: QMPError.self) { try await target.queryStatus(deadline: .milliseconds(200)) }
                #expect(hanging?.code == .deadline)
                let again = qemu.folder + "/again"
                try await rescue.migrateRecover(uri: "unix:" + again, outOfBand: true)
                try await source.migrate(uri: "unix:" + again, resume: true)
                try await source.migrateSetParameters(["max-postcopy-bandwidth": 0])
                for client in [source, target] {
                    try await eventually("the end") { try await client.queryMigrate().status == "completed" }
                }
                _ = try await read
                #expect(try await target.queryStatus().running)
                // The source cannot be had back.
                #expect(try await !source.queryStatus().running)
            }
        }
    }

    private static func join(
        _ source: QMPClient, _ target: QMPClient, name: String, _ body: (String) async throws -> Void
    ) async throws {
        var pair: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
        try await source.sendDescriptor(pair[0], name: name)
        try await target.sendDescriptor(pair[1], name: name)
        for descriptor in pair { close(descriptor) }
        try await body(name)
    }

    @Test func `leaves a paused guest that is called off in its last pass as it takes away only once it ran`() async throws {
        try await withClient(smallPC) { source, _ in
            try await source.cont()
            try await source.stop()
            for isAgain in [false, true] {
                try await withClient(smallPC + ["-incoming", "defer"]) { target, _ in
                    try await source.migrateSetCapabilities(["pause-before-switchover": true])
                    let move = { (name: String) in
                        try await Self.join(source, target, name: name) { name in
                            try await target.migrateIncoming(uri: "fd:" + name)
                            try await source.migrate(uri: "fd:" + name)
                        }
                    }
                    if isAgain {
                        let refused = await #expect(throws: QMPError.self) { try await source.migrate(uri: "tcp:127.0.0.1:1") }
                        #expect(refused?.reason?.contains("paused due to previous migration") == true)
                        try await source.cont()
                        try await source.stop()
                    }
                    try await move("to")
                    try await eventually("the last pass") { try await source.queryMigrate().status == "pre-switchover" }
                    try await source.migrateCancel()
                    try await eventually("the end") { try await source.queryMigrate().status == "cancelled" }
                    #expect(try await source.queryStatus().status == "postmigrate")
                }
            }
        }
    }

    @Test func `tells on which port a target listens by itself`() async throws {
        try await withClient(smallPC + ["-incoming", "defer"]) { target, _ in
            #expect(try await target.queryMigrate().socketAddress == nil)
            try await target.migrateSetCapabilities(["multifd": true])
            try await target.migrateSetParameters(["multifd-channels": 3])
            #expect(try await target.queryMigrateParameters().multifdChannels == 3)
            try await target.migrateIncoming(uri: "tcp:127.0.0.1:0")
            let address = try #require(try await target.queryMigrate().socketAddress?.first)
            #expect(address.type == "inet")
            #expect(address.host == "127.0.0.1")
            #expect((address.port.flatMap { Int($0) } ?? 0) > 0)
        }
    }
}
