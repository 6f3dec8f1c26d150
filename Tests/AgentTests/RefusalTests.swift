import Agent
import AgentAPI
import Fleet
import Foundation
import Hypervisor
import Testing

@Suite(.serialized, .timeLimit(.minutes(5)))
struct RefusalTests {
    @Test func `answers an old epoch with a conflict and changes nothing`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(5), description: TestGuest.description(server)))
            let before = try await host.orders.guest(server)
            let files = host.files(under: host.folder)
            let key = AttemptKey(migration: "m", attempt: 1)
            let old = Epoch(4)
            let endpoints = Endpoints(address: "127.0.0.1", nbdPort: 1, memoryPort: 2)
            let orders: [() async throws -> Void] = [
                { _ = try await host.orders.define(server, DefineOrder(epoch: old, description: TestGuest.description(server))) },
                { _ = try await host.orders.start(server, StartOrder(epoch: old)) },
                { _ = try await host.orders.stop(server, StopOrder(epoch: old, graceMS: 0)) },
                { try await host.orders.delete(server, DeleteOrder(epoch: old)) },
                {
                    _ = try await host.orders.prepare(
                        server, PrepareOrder(epoch: old, key: key, description: before.description, source: "b"))
                },
                { _ = try await host.orders.mirror(server, MirrorOrder(epoch: old, key: key, target: endpoints, bandwidth: nil)) },
                {
                    _ = try await host.orders.sendMemory(
                        server,
                        MemoryOrder(epoch: old, key: key, target: endpoints, targetAgentURL: "", bandwidth: nil, rules: ConvergenceRules()))
                },
                { _ = try await host.orders.abort(server, AbortOrder(epoch: old, key: key, targetRefused: true)) },
                { _ = try await host.orders.refuse(server, RefuseOrder(epoch: old, key: key)) },
                { try await host.orders.discard(server, DiscardOrder(epoch: old, key: key, end: .source)) },
                { try await host.orders.discard(server, DiscardOrder(epoch: old, key: key, end: .target)) },
            ]
            for order in orders {
                let problem = await #expect(throws: AgentProblem.self) { try await order() }
                #expect(problem?.kind == .staleEpoch)
            }
            #expect(try await host.orders.guest(server) == before)
            #expect(host.files(under: host.folder) == files)

            // The epoch outlives the server.
            try await host.orders.delete(server, DeleteOrder(epoch: Epoch(6)))
            try await host.stop()
            try await host.start()
            let problem = await #expect(throws: AgentProblem.self) {
                try await host.orders.define(server, DefineOrder(epoch: Epoch(5), description: TestGuest.description(server)))
            }
            #expect(problem?.kind == .staleEpoch)
        }
    }

    @Test func `refuses a disk from what is no image and leaves nothing behind`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            let text = "\(host.folder)/notes.txt"
            try String(repeating: "these are no sectors\n", count: 100).write(toFile: text, atomically: true, encoding: .utf8)
            let odd = "\(host.folder)/odd.img"
            try Data(repeating: 0, count: 513).write(to: URL(fileURLWithPath: odd))
            let broken = "\(host.folder)/broken.qcow2"
            try Data([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3] + [UInt8](repeating: 0xff, count: 1016)).write(to: URL(fileURLWithPath: broken))
            for path in [text, odd, broken, "\(host.folder)/missing.img", host.folder] {
                let problem = await #expect(throws: AgentProblem.self) {
                    try await host.orders.define(
                        server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server), images: ["disk0": path]))
                }
                #expect(problem?.kind == .invalid)
                #expect(problem?.reason.message.contains(path) == true)
            }
            #expect(host.files(under: host.configuration.storages[0].path) == [])
            #expect(try await host.orders.host().guests == [])

            // A sound one is taken, and grown to the size asked for.
            let image = "\(host.folder)/sound.img"
            try Data(repeating: 7, count: 1 << 20).write(to: URL(fileURLWithPath: image))
            var description = TestGuest.description(server)
            let report = try await host.orders.define(
                server, DefineOrder(epoch: Epoch(1), description: description, images: ["disk0": image]))
            #expect(report.description.disks[0].sizeBytes == 256 << 20)
            try await host.orders.delete(server, DeleteOrder(epoch: Epoch(1)))
            // Without a size it takes the image's.
            description.disks[0].sizeBytes = 0
            let sized = try await host.orders.define(
                server, DefineOrder(epoch: Epoch(1), description: description, images: ["disk0": image]))
            #expect(sized.description.disks[0].sizeBytes == 1 << 20)
        }
    }

    @Test func `names what it has when a machine or a CPU model is unknown`() async throws {
        try await withHosts("a") { hosts in
            let server = ServerID.unique()
            var odd = TestGuest.description(server)
            odd.machine = "pc-i440fx-99.9"
            var problem = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: odd))
            }
            #expect(problem?.kind == .invalid)
            #expect(problem?.reason.message.contains("pc-q35") == true)
            odd = TestGuest.description(server)
            odd.cpuModel = "Z80"
            problem = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: odd))
            }
            #expect(problem?.kind == .invalid)
            #expect(problem?.reason.message.contains("qemu64-v1") == true)
            odd = TestGuest.description(server)
            odd.nics[0].network = "nowhere"
            problem = await #expect(throws: AgentProblem.self) {
                try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: odd))
            }
            #expect(problem?.kind == .invalid)
        }
    }

    @Test func `takes orders from workers and controllers only`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let server = ServerID.unique()
            let order = DefineOrder(epoch: Epoch(1), description: TestGuest.description(server))
            for (name, mayOrder, mayLook) in [("agent/b", false, true), ("controller/c1", true, true), ("guest/x", false, false)] {
                let (pool, client) = try host.client(as: name)
                if mayLook {
                    #expect(try await client.host().kernel.isEmpty == false)
                } else {
                    let problem = await #expect(throws: AgentProblem.self) { try await client.host() }
                    #expect(problem?.kind == .forbidden)
                }
                if mayOrder {
                    _ = try await client.define(server, order)
                } else {
                    let problem = await #expect(throws: AgentProblem.self) { try await client.define(server, order) }
                    #expect(problem?.kind == .forbidden)
                }
                try await pool.shutdown()
            }
            await #expect(throws: AgentProblem.self) { try await HostAgent.open(host.configuration, logger: TestHost.logger) }
        }
    }

    /// Its death is no word about anybody's certificate.
    @Test func `is out of reach, and not without trust, when it is killed in the middle of a handshake`() async throws {
        try await withHosts("a") { hosts in
            let (pool, _) = try hosts[0].client(as: "worker/w1")
            let listener = try StreamSocket.listen("127.0.0.1", port: 0)
            async let cut: Void = { _ = try await listener.accept() }()
            let problem = await #expect(throws: AgentProblem.self) {
                try await pool.agent(at: "https://127.0.0.1:\(listener.port)").host()
            }
            try await cut
            #expect(problem?.kind == .unreachable)
            #expect(problem?.reason.code == "unreachable")
            try await pool.shutdown()
        }
    }

    @Test func `tells an agent that is not there from one that refuses`() async throws {
        try await withHosts("a") { hosts in
            let (pool, _) = try hosts[0].client(as: "worker/w2")
            let problem = await #expect(throws: AgentProblem.self) { try await pool.agent(at: "https://127.0.0.1:1").host() }
            #expect(problem?.kind == .unreachable)
            let missing = await #expect(throws: AgentProblem.self) { try await hosts[0].orders.guest("nobody") }
            #expect(missing?.kind == .notFound)
            try await pool.shutdown()
        }
    }
}
