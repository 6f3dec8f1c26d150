import AgentAPI
import Attempts
import Fleet
import Foundation
import Glibc
import Testing

@testable import Agent
@testable import Hypervisor

/// The test as the worker that has a stopped server copied from one agent to the other.
struct ColdMover {
    let source: TestHost
    let target: TestHost
    let server: ServerID
    var key: AttemptKey
    let epoch = Epoch(10)

    init(_ server: ServerID, from source: TestHost, to target: TestHost) {
        (self.server, self.source, self.target) = (server, source, target)
        key = AttemptKey(migration: .unique(), attempt: 1)
    }

    @discardableResult
    func lend(tls: Bool = false) async throws -> LoanReport {
        try await source.orders.lend(server, LendOrder(epoch: epoch, key: key, enableTLS: tls, target: target.name))
    }

    func receive(bandwidth: Int64? = nil, tls: Bool = false) async throws {
        let description = try await source.orders.guest(server).description
        _ = try await target.orders.receive(
            server,
            ReceiveOrder(
                epoch: epoch, key: key, description: description, source: source.name, sourceAgentURL: source.url, bandwidth: bandwidth,
                enableTLS: tls))
    }

    @discardableResult
    func incoming(
        within deadline: Duration = .seconds(60), _ condition: (IncomingReport) -> Bool = { $0.phase == .received }
    ) async throws -> IncomingReport {
        let end = ContinuousClock.now.advanced(by: deadline)
        var seen: Int64 = 0
        while true {
            let report = try await target.orders.incoming(server, key, seen: seen, waitMS: 500)
            if condition(report) { return report }
            guard ContinuousClock.now < end, report.phase != .failed else { throw TestFailure("not in time: \(report)") }
            seen = report.version
        }
    }

    func handOver() async throws -> IncomingReport {
        _ = try await source.orders.yield(server, YieldOrder(epoch: epoch, key: key))
        return try await target.orders.handOver(server, HandoverOrder(epoch: epoch, key: key, source: source.name))
    }
}

@Suite(.serialized, .timeLimit(.minutes(4)))
struct ColdMigrationTests {
    private static let mebibyte: Int64 = 1 << 20

    /// A stopped server with a qcow2 disk, that has a snapshot, and a raw one.
    private func define(on host: TestHost, dataMB: Int = 8) async throws -> ServerID {
        let server = ServerID.unique()
        var description = TestGuest.description(server, disks: 2)
        description.disks[1].format = .raw
        _ = try await host.orders.define(server, DefineOrder(epoch: Epoch(1), description: description))
        let disk = "\(host.folder)/disks/\(server)/disk0.qcow2"
        try await tool("qemu-io", "-c", "write -P 7 0 1M", disk)
        try await tool("qemu-img", "snapshot", "-c", "before", disk)
        try await tool("qemu-io", "-c", "write -P 9 0 \(dataMB)M", disk)
        try await tool("qemu-io", "-f", "raw", "-c", "write -P 3 64M \(dataMB)M", "\(host.folder)/disks/\(server)/disk1.raw")
        return server
    }

    @discardableResult
    private func tool(_ program: String, _ arguments: String...) async throws -> String {
        try await Program.succeed(program, arguments, deadline: .seconds(60), code: .diskError, for: "a test's tool")
    }

    private func files(_ server: ServerID, on host: TestHost) async throws -> [String: String] {
        var sums: [String: String] = [:]
        let folder = "\(host.folder)/disks/\(server)"
        for name in host.files(under: folder) { sums[name] = try await tool("md5sum", "\(folder)/\(name)").prefix(32).description }
        return sums
    }

    @Test func `a stopped server moves byte for byte, and can be started on one host only`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0])
            let before = try await files(server, on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let loan = try await mover.lend()
            #expect(loan.phase == .lent && loan.files.count == 2 && loan.port != 0)
            await #expect { try await hosts[0].orders.start(server, StartOrder(epoch: mover.epoch)) } throws: {
                "\($0)".contains("cancel the migration first")
            }
            try await mover.receive()
            let report = try await mover.incoming()
            let receipt = try #require(report.receipt)
            #expect(receipt.bytesVerified == receipt.bytesTotal && receipt.bytesFetched == receipt.bytesTotal)
            #expect(receipt.bytesTotal < 40 * Self.mebibyte)
            await #expect(throws: AgentProblem.self) { try await hosts[1].orders.start(server, StartOrder(epoch: mover.epoch)) }
            #expect(try await mover.handOver().phase == .owned)
            #expect(try await files(server, on: hosts[1]) == before)
            await #expect(throws: AgentProblem.self) { try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(12))) }
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(12), key: mover.key, end: .source))
            #expect(hosts[0].files(under: "\(hosts[0].folder)/disks/\(server)").isEmpty)
            let disk = "\(hosts[1].folder)/disks/\(server)/disk0.qcow2"
            #expect(try await tool("qemu-img", "snapshot", "-l", disk).contains("before"))
            let started = try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(13)))
            #expect(started.summary.status == .running)
        }
    }

    @Test func `the copy goes on when either agent is started anew`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0], dataMB: 24)
            let before = try await files(server, on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let port = try await mover.lend().port
            try await mover.receive(bandwidth: 12 * Self.mebibyte)
            try await mover.incoming { ($0.receipt?.bytesDone ?? 0) > 8 * Self.mebibyte }
            // The daemon outlives the agent, which finds it again.
            try await hosts[0].stop()
            try await hosts[0].start()
            #expect(try await mover.lend().port == port)
            try await mover.receive(bandwidth: 12 * Self.mebibyte)
            try await mover.incoming { ($0.receipt?.bytesDone ?? 0) > 16 * Self.mebibyte }
            try await hosts[1].stop()
            try await hosts[1].start()
            try await mover.receive(bandwidth: nil)
            let receipt = try #require(try await mover.incoming().receipt)
            #expect(receipt.bytesFetched <= receipt.bytesTotal + 6 * Self.mebibyte, "\(receipt)")
            #expect(receipt.bytesVerified == receipt.bytesTotal)
            #expect(try await mover.handOver().phase == .owned)
            #expect(try await files(server, on: hosts[1]) == before)
        }
    }

    @Test func `a daemon that dies is replaced, and the copy goes on`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0], dataMB: 16)
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let port = try await mover.lend().port
            try await mover.receive(bandwidth: 12 * Self.mebibyte)
            try await mover.incoming { ($0.receipt?.bytesDone ?? 0) > 4 * Self.mebibyte }
            let daemon = try #require(try StorageDaemon.find(pidPath: HostPaths(hosts[0].configuration).of(server).loanPID))
            kill(daemon.pid, SIGKILL)
            let report = try await mover.incoming()
            #expect(try await hosts[0].orders.loan(server, mover.key).port != port)
            #expect(report.receipt?.events.contains { $0.message.contains("goes on") } == true)
            #expect(try await mover.handOver().phase == .owned)
        }
    }

    @Test func `a daemon without an agent ends after a while, and lends again when there is one`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0])
            let paths = HostPaths(hosts[0].configuration).of(server)
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            try await mover.lend()
            let daemon = try #require(try StorageDaemon.find(pidPath: paths.loanPID))
            // Looked after it stays, however old.
            try Self.age(paths.loanPID)
            try await eventually("the agent looks after it", within: .seconds(5)) {
                let touched = try FileManager.default.attributesOfItem(atPath: paths.loanPID)[.modificationDate] as? Date
                return touched.map { $0.timeIntervalSinceNow > -60 } ?? false
            }
            #expect(daemon.isAlive)
            try await hosts[0].stop()
            #expect(daemon.isAlive, "it outlives the agent")
            try Self.age(paths.loanPID)
            try await eventually("it ends by itself", within: .seconds(20)) { !daemon.isAlive }
            try await hosts[0].start()
            try await mover.receive()
            try await mover.incoming()
            #expect(try await mover.handOver().phase == .owned)
        }
    }

    /// As if nobody had looked after a daemon for longer than it may live without.
    private static func age(_ path: String) throws {
        let past = Date.now.addingTimeInterval(-Double(StorageDaemon.orphanLimit.components.seconds) - 60)
        try FileManager.default.setAttributes([.modificationDate: past], ofItemAtPath: path)
    }

    @Test func `an agent ends the daemon of a loan that one before it had ended only on paper`() async throws {
        try await withHosts("h1") { hosts in
            let server = try await define(on: hosts[0])
            let paths = HostPaths(hosts[0].configuration).of(server)
            let mover = ColdMover(server, from: hosts[0], to: hosts[0])
            try await mover.lend()
            let daemon = try #require(try StorageDaemon.find(pidPath: paths.loanPID))
            try await hosts[0].stop()
            let ledger = try Ledger(path: paths.record, server: server)
            try await ledger.change { $0.loan?.phase = .returned }
            try await hosts[0].start()
            #expect(!daemon.isAlive)
            #expect(try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(20))).summary.status == .running)
        }
    }

    @Test func `files travel encrypted between proven peers`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0])
            let before = try await files(server, on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            let loan = try await mover.lend(tls: true)
            #expect(loan.isEncrypted)
            // Without encryption nobody is served.
            let plain = try await Program.run(
                "nbdinfo", ["--size", "nbd://127.0.0.1:\(loan.port)/local/disk0.qcow2"], deadline: .seconds(20))
            #expect(plain.status != 0)
            // Nor with it is anybody but the target's agent.
            for (host, isLetIn) in [(hosts[0], false), (hosts[1], true)] {
                let folder = HostPaths(host.configuration).credentials
                let asked = try await Program.run(
                    "nbdinfo", ["--size", "nbds://127.0.0.1:\(loan.port)/local/disk0.qcow2?tls-certificates=\(folder)"],
                    deadline: .seconds(20))
                #expect((asked.status == 0) == isLetIn, "\(host.name): \(asked)")
            }
            try await mover.receive(tls: true)
            try await mover.incoming()
            #expect(try await mover.handOver().phase == .owned)
            #expect(try await files(server, on: hosts[1]) == before)
        }
    }

    @Test func `a server that was given up comes back only when the target refused it`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0])
            let before = try await files(server, on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            try await mover.lend()
            try await mover.receive()
            try await mover.incoming()
            _ = try await hosts[0].orders.yield(server, YieldOrder(epoch: mover.epoch, key: mover.key))
            func takeBack(_ refused: Bool) async throws -> LoanReport {
                try await hosts[0].orders.takeBack(server, TakeBackOrder(epoch: mover.epoch, key: mover.key, targetRefused: refused))
            }
            await #expect { try await takeBack(false) } throws: { ($0 as? AgentProblem)?.kind == .owned }
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.handOver(server, HandoverOrder(epoch: mover.epoch, key: mover.key, source: "h1"))
            }
            #expect(try await takeBack(true).phase == .returned)
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            #expect(hosts[1].files(under: "\(hosts[1].folder)/disks/\(server)").isEmpty)
            #expect(try await files(server, on: hosts[0]) == before)
            #expect(try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(11))).summary.status == .running)
        }
    }

    @Test func `what an attempt copied is kept for the next one, or removed`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0], dataMB: 24)
            var mover = ColdMover(server, from: hosts[0], to: hosts[1])
            try await mover.lend()
            try await mover.receive(bandwidth: 8 * Self.mebibyte)
            try await mover.incoming { ($0.receipt?.bytesDone ?? 0) > 16 * Self.mebibyte }
            let first = mover.key
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: first))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: first, end: .target, keepsCopies: true))
            _ = try await hosts[0].orders.takeBack(server, TakeBackOrder(epoch: mover.epoch, key: first, targetRefused: false))
            mover.key.attempt = 2
            try await mover.lend()
            try await mover.receive()
            let receipt = try #require(try await mover.incoming().receipt)
            #expect(receipt.bytesFetched <= receipt.bytesTotal + 6 * Self.mebibyte, "\(receipt)")
            // The first attempt's cleanup comes late and touches nothing of the second's.
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: first, end: .target))
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target, keepsCopies: true))
            #expect(!hosts[1].files(under: "\(hosts[1].folder)/disks/\(server)").isEmpty)
            // Also once another migration was obeyed here.
            let other = AttemptKey(migration: "other", attempt: 1)
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: Epoch(99), key: other))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
            #expect(hosts[1].files(under: "\(hosts[1].folder)/disks/\(server)").isEmpty)
        }
    }

    @Test func `an order to lend that comes after the attempt was cleaned up binds nothing`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            _ = try await hosts[0].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            await #expect { try await mover.lend() } throws: { ($0 as? AgentProblem)?.kind == .conflict }
            #expect(try await hosts[0].orders.start(server, StartOrder(epoch: mover.epoch)).summary.status == .running)
        }
    }

    @Test func `a server that runs is not lent, and one that is lent is not deleted`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = try await define(on: hosts[0])
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            _ = try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(2)))
            await #expect { try await mover.lend() } throws: { "\($0)".contains("stop it first") }
            _ = try await hosts[0].orders.stop(server, StopOrder(epoch: mover.epoch, graceMS: 0))
            try await mover.lend()
            await #expect(throws: AgentProblem.self) { try await hosts[0].orders.delete(server, DeleteOrder(epoch: mover.epoch)) }
            // The source's cleanup of an attempt that was never handed over ends the loan and removes nothing.
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            #expect(try await hosts[0].orders.loan(server, mover.key).phase == .returned)
            #expect(try await files(server, on: hosts[0]).count == 2)
        }
    }

    @Test func `of mixed disks only the local one is copied, and the shared one is left as it is`() async throws {
        try await withHosts("h1", "h2") { hosts in
            let server = ServerID.unique()
            var description = TestGuest.description(server, disks: 2)
            description.disks[0].storage = "shared"
            _ = try await hosts[0].orders.define(server, DefineOrder(epoch: Epoch(1), description: description))
            let shared = try #require(hosts[0].configuration.storages.last?.path) + "/\(server)/disk0.qcow2"
            func inode() throws -> UInt64 {
                var status = stat()
                guard stat(shared, &status) == 0 else { throw TestFailure("\(shared) is gone") }
                return UInt64(status.st_ino)
            }
            let before = try inode()
            let mover = ColdMover(server, from: hosts[0], to: hosts[1])
            #expect(try await mover.lend().files.map(\.name) == ["local/disk1.qcow2"])
            try await mover.receive()
            try await mover.incoming()
            #expect(try await mover.handOver().phase == .owned)
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
            #expect(try inode() == before)
            #expect(try await hosts[1].orders.start(server, StartOrder(epoch: Epoch(11))).summary.status == .running)
            await #expect(throws: AgentProblem.self) { try await hosts[0].orders.start(server, StartOrder(epoch: Epoch(11))) }
        }
    }
}
