import AgentAPI
import Fleet
import Foundation
import Testing

@testable import Agent
@testable import Hypervisor

/// Disks that rest on base images.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct BaseImageTests {
    static func image(_ arguments: String...) async throws {
        _ = try await Program.succeed("qemu-img", arguments, deadline: .seconds(30), code: .diskError, for: "an image of the test")
    }

    /// A chain of two in a folder of the host's own: a raw image with a pattern, and a qcow2 on it with another.
    static func chain(on host: TestHost) async throws -> String {
        let (lower, upper) = ("\(host.folder)/golden.raw", "\(host.folder)/patched.qcow2")
        try await image("create", "-q", "-f", "raw", lower, "128M")
        try await image("create", "-q", "-f", "qcow2", "-F", "raw", "-b", lower, upper)
        for (path, format, at) in [(lower, "raw", "100M"), (upper, "qcow2", "110M")] {
            _ = try await Program.succeed(
                "qemu-io", ["-f", format, "-c", "write -P 0x\(format == "raw" ? "5a" : "a5") \(at) 1M", path], deadline: .seconds(30),
                code: .diskError, for: "a pattern")
        }
        return upper
    }

    private static func expectPatterns(_ disk: String) async throws {
        for (pattern, at) in [("0x5a", "100M"), ("0xa5", "110M"), ("0", "120M")] {
            let read = try await Program.run(
                "qemu-io", ["-U", "-r", "-f", "qcow2", "-c", "read -P \(pattern) \(at) 1M", disk], deadline: .seconds(30))
            #expect(read.status == 0 && !read.output.contains("verification failed"), "\(at): \(read)")
        }
    }

    static func description() -> GuestDescription {
        var guest = TestGuest.description(.unique(), parameters: "godwit.region_mb=16")
        guest.disks[0].sizeBytes = 0
        return guest
    }

    private func storage(_ host: TestHost) -> String { host.configuration.storages[0].path }

    @Test func `takes a chain in by content, once, and moves a running guest that rests on it`() async throws {
        try await withHosts("a", "b") { hosts in
            let base = try await Self.chain(on: hosts[0])
            let wish = Self.description()
            let order = DefineOrder(epoch: Epoch(1), description: wish, bases: ["disk0": base])
            let defined = try await hosts[0].orders.define(wish.server, order)
            #expect(try await hosts[0].orders.define(wish.server, order) == defined)
            let disk = try #require(defined.description.disks.first)
            let bases = try #require(disk.bases)
            #expect(disk.sizeBytes == 128 << 20)
            #expect(bases.map(\.format) == [.qcow2, .raw])
            #expect(hosts[0].files(under: "\(storage(hosts[0]))/.base") == bases.map(\.name).sorted())
            for base in bases {
                let path = "\(storage(hosts[0]))/.base/\(base.name)"
                #expect(try await BaseImages.contentName(of: path, format: base.format) == base.name)
                #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o444)
            }
            // Another server on the same takes no more room.
            let other = Self.description()
            let twin = try await hosts[0].orders.define(
                other.server, DefineOrder(epoch: Epoch(1), description: other, bases: ["disk0": base]))
            #expect(twin.description.disks[0].bases == bases)
            #expect(hosts[0].files(under: "\(storage(hosts[0]))/.base").count == 2)
            // What it was taken from is not needed any more.
            try FileManager.default.removeItem(atPath: base)
            try FileManager.default.removeItem(atPath: "\(hosts[0].folder)/golden.raw")

            let report = try await hosts[0].orders.start(wish.server, StartOrder(epoch: Epoch(2)))
            try await eventually("the guest writes") { (TestGuest.tick(report.consoleLog)?["record"].flatMap { Int($0) } ?? 0) > 20 }

            // The target lacks them: it says which, and takes no guest that would rest on nothing.
            let needs = BaseNeeds(of: defined.description)
            #expect(needs.needs.map(\.base) == bases.reversed())
            #expect(try await hosts[1].orders.missingBases(needs) == needs)
            #expect(try await hosts[0].orders.missingBases(needs).needs.isEmpty)
            let early = Mover(wish.server, from: hosts[0], to: hosts[1])
            #expect(try await refusal { try await early.prepare() }?.reason.code == .baseMissing)
            _ = try await hosts[1].orders.refuse(wish.server, RefuseOrder(epoch: Epoch(10), key: early.key))
            try await hosts[1].orders.discard(wish.server, DiscardOrder(epoch: Epoch(10), key: early.key, end: .target))
            #expect(hosts[1].files(under: storage(hosts[1])).filter { !$0.hasPrefix(".base") } == [])

            // Brought there; a flipped byte does not get in.
            try DurableFile.makeFolder("\(storage(hosts[1]))/.base")
            for need in needs.needs {
                let draft = "\(storage(hosts[1]))/.base/draft"
                var bytes = try Data(contentsOf: URL(fileURLWithPath: "\(storage(hosts[0]))/.base/\(need.base.name)"))
                bytes[bytes.count / 2] ^= 1
                try bytes.write(to: URL(fileURLWithPath: draft))
                let problem = try await refusal { try await BaseImages.adopt(draft, as: need.base, on: storage(hosts[1])) }
                #expect(problem?.reason.code == .verifyFailed)
                bytes[bytes.count / 2] ^= 1
                try bytes.write(to: URL(fileURLWithPath: draft))
                try await BaseImages.adopt(draft, as: need.base, on: storage(hosts[1]))
            }
            #expect(try await hosts[1].orders.missingBases(needs).needs.isEmpty)

            let mover = Mover(wish.server, from: hosts[0], to: hosts[1], attempt: 2)
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            let mirrored = try await mover.outgoing(.mirrored)
            #expect(mirrored.progress.diskTotal < 64 << 20, "what the base holds does not travel")
            try await mover.sendMemory(endpoints)
            try await mover.outgoing(.confirmed)
            let console = try await hosts[1].orders.guest(wish.server).consoleLog
            try await MigrationFaultTests.expectTicking(console, boot: TestGuest.tick(report.consoleLog)?["boot"])
            try await hosts[0].orders.discard(wish.server, DiscardOrder(epoch: Epoch(11), key: mover.key, end: .source))
            // The base stays for others; the other server's disk is untouched.
            #expect(hosts[0].files(under: "\(storage(hosts[0]))/.base").count == 2)
            _ = try await hosts[1].orders.stop(wish.server, StopOrder(epoch: Epoch(12), graceMS: 30_000))
            try await Self.expectPatterns("\(storage(hosts[1]))/\(wish.server)/disk0.qcow2")
            try await Self.expectPatterns("\(storage(hosts[0]))/\(other.server)/disk0.qcow2")
        }
    }

    /// A guest that runs on the first host and rests on images with so much data.
    private static func resting(on host: TestHost, dataMB: Int) async throws -> (GuestReport, [GuestDescription.BaseImage]) {
        let base = try await chain(on: host)
        var lower = [UInt8](repeating: 0, count: dataMB << 20)
        for index in stride(from: 0, to: lower.count, by: 512) { lower[index] = UInt8.random(in: 1...255) }
        let file = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(host.folder)/golden.raw"))
        try file.write(contentsOf: lower)
        try file.close()
        let wish = description()
        let defined = try await host.orders.define(
            wish.server, DefineOrder(epoch: Epoch(1), description: wish, bases: ["disk0": base]))
        let report = try await host.orders.start(wish.server, StartOrder(epoch: Epoch(2)))
        try await eventually("the guest writes") { (TestGuest.tick(report.consoleLog)?["record"].flatMap { Int($0) } ?? 0) > 20 }
        return (report, try #require(defined.description.disks[0].bases))
    }

    @Test func `bases are copied under a running guest, over agents that are started anew, and only once`() async throws {
        try await withHosts("a", "b") { hosts in
            let (report, bases) = try await Self.resting(on: hosts[0], dataMB: 24)
            let server = report.summary.server
            let mover = Mover(server, from: hosts[0], to: hosts[1])
            let loan = try await mover.lendBases(bases)
            #expect(loan.phase == .lent && loan.files.count == 2 && loan.port != 0)
            try await mover.receiveBases(bases, bandwidth: 8 << 20)
            try await mover.copied { $0.bytesDone > 6 << 20 }
            // Nothing can run there, nor be prepared, on half of what it rests on.
            #expect(try await refusal { try await mover.prepare() }?.kind == .conflict)
            try await hosts[0].stop()
            try await hosts[0].start()
            #expect(try await mover.lendBases(bases).port == loan.port)
            try await mover.receiveBases(bases, bandwidth: 8 << 20)
            try await mover.copied { $0.bytesDone > 12 << 20 }
            try await hosts[1].stop()
            try await hosts[1].start()
            try await mover.receiveBases(bases, bandwidth: nil)
            let receipt = try #require(try await mover.incoming(.received).receipt)
            #expect(receipt.bytesFetched <= receipt.bytesTotal + 5 << 20, "\(receipt)")
            #expect(receipt.bytesVerified == receipt.bytesTotal && receipt.bytesTotal > 24 << 20)
            let folder = "\(storage(hosts[1]))/.base"
            for base in bases {
                #expect(try await BaseImages.contentName(of: "\(folder)/\(base.name)", format: base.format) == base.name)
                #expect(
                    try FileManager.default.attributesOfItem(atPath: "\(folder)/\(base.name)")[.posixPermissions] as? Int == 0o444)
            }
            #expect(try await hosts[1].orders.host().storages[0].bases == bases.map(\.name).sorted())
            // Images alone make no server.
            let order = HandoverOrder(epoch: mover.epoch, key: mover.key, source: "a")
            #expect(try await refusal { _ = try await hosts[1].orders.handOver(server, order) }?.kind == .conflict)
            #expect(try await mover.endLoan().phase == .returned)
            #expect(try StorageDaemon.find(pidPath: HostPaths(hosts[0].configuration).of(server).loanPID) == nil)

            let endpoints = try await mover.prepare()
            #expect(hosts[1].files(under: folder) == bases.map(\.name).sorted())
            try await mover.mirror(endpoints)
            let mirrored = try await mover.outgoing(.mirrored)
            #expect(mirrored.progress.diskTotal < 16 << 20, "what the base holds does not travel again")
            try await mover.sendMemory(endpoints)
            try await mover.outgoing(.confirmed)
            let console = try await hosts[1].orders.guest(server).consoleLog
            try await MigrationFaultTests.expectTicking(console, boot: TestGuest.tick(report.consoleLog)?["boot"])
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: Epoch(11), key: mover.key, end: .source))
            #expect(hosts[0].files(under: storage(hosts[0])).filter { !$0.hasPrefix(".base") } == [])
            _ = try await hosts[1].orders.stop(server, StopOrder(epoch: Epoch(12), graceMS: 30_000))
            try await Self.expectPatterns("\(storage(hosts[1]))/\(server)/disk0.qcow2")
        }
    }

    @Test func `a copy that is called off leaves nothing, one that is not what its name says does not count`() async throws {
        try await withHosts("a", "b") { hosts in
            let (report, bases) = try await Self.resting(on: hosts[0], dataMB: 8)
            let server = report.summary.server
            let first = Mover(server, from: hosts[0], to: hosts[1])
            #expect(try await first.lendBases(bases, tls: true).isEncrypted)
            try await first.receiveBases(bases, bandwidth: 2 << 20, tls: true)
            try await first.copied { $0.bytesDone > 1 << 20 }
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: first.epoch, key: first.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: first.epoch, key: first.key, end: .target))
            #expect(hosts[1].files(under: "\(storage(hosts[1]))/.base").filter { $0.contains(server.value) } == [])
            // The source's end by its cleanup, as when it did not answer in time: the server stays.
            try await hosts[0].orders.discard(server, DiscardOrder(epoch: first.epoch, key: first.key, end: .source))
            #expect(try StorageDaemon.find(pidPath: HostPaths(hosts[0].configuration).of(server).loanPID) == nil)
            try await MigrationFaultTests.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])

            // Another content under the name, beyond what the guest has read.
            let lower = "\(storage(hosts[0]))/.base/\(bases[1].name)"
            let file = try FileHandle(forUpdating: URL(fileURLWithPath: lower))
            try file.seek(toOffset: 100 << 20)
            try file.write(contentsOf: [0x77])
            try file.close()
            let second = Mover(server, from: hosts[0], to: hosts[1], attempt: 2)
            try await second.lendBases(bases, tls: true)
            try await second.receiveBases(bases, bandwidth: nil, tls: true)
            let failed = try await second.incoming(.failed)
            #expect(failed.reason?.code == .verifyFailed)
            #expect(hosts[1].files(under: "\(storage(hosts[1]))/.base").filter { $0.hasPrefix(bases[1].name) } == [])
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: second.epoch, key: second.key))
            try await hosts[1].orders.discard(server, DiscardOrder(epoch: second.epoch, key: second.key, end: .target))
            try await second.endLoan()
            try await MigrationFaultTests.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }

    @Test func `what an agent that was killed had half taken in goes when the next one comes`() async throws {
        try await withHosts("a") { hosts in
            let folder = BaseImages.folder(on: storage(hosts[0]))
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let (draft, other) = ("\(folder)/\(UUID().uuidString).partial", "\(folder)/copy.partial")
            for file in [draft, other] { try Data("x".utf8).write(to: URL(filePath: file)) }
            try await hosts[0].stop()
            try await hosts[0].start()
            #expect(!FileManager.default.fileExists(atPath: draft))
            #expect(FileManager.default.fileExists(atPath: other))
        }
    }

    @Test func `refuses what cannot be rested on, and leaves nothing of the server`() async throws {
        try await withHosts("a") { hosts in
            let base = try await Self.chain(on: hosts[0])
            let foreign = "\(hosts[0].folder)/disk.vmdk"
            try await Self.image("create", "-q", "-f", "vmdk", foreign, "64M")
            var (small, raw) = (Self.description(), Self.description())
            small.disks[0].sizeBytes = 64 << 20
            raw.disks[0].format = .raw
            for (path, wish) in [
                (foreign, Self.description()), ("\(hosts[0].folder)/nosuch.qcow2", Self.description()), (base, small), (base, raw),
            ] {
                let problem = try await refusal {
                    _ = try await hosts[0].orders.define(
                        wish.server, DefineOrder(epoch: Epoch(1), description: wish, bases: ["disk0": path]))
                }
                #expect(problem?.kind == .invalid, "\(path)")
            }
            #expect(hosts[0].files(under: storage(hosts[0])).filter { !$0.hasPrefix(".base") } == [])
            #expect(hosts[0].files(under: "\(storage(hosts[0]))/.base").filter { $0.hasSuffix(".partial") } == [])
        }
    }
}

extension Mover {
    @discardableResult
    func lendBases(_ bases: [GuestDescription.BaseImage], tls: Bool = false) async throws -> LoanReport {
        try await source.orders.lend(server, LendOrder(epoch: epoch, key: key, enableTLS: tls, bases: bases.map(\.name)))
    }

    func receiveBases(_ bases: [GuestDescription.BaseImage], bandwidth: Int64?, tls: Bool = false) async throws {
        _ = try await target.orders.receive(
            server,
            ReceiveOrder(
                epoch: epoch, key: key, description: try await source.orders.guest(server).description, source: source.name,
                sourceAgentURL: source.url, bandwidth: bandwidth, enableTLS: tls, bases: bases.map(\.name)))
    }

    func copied(_ condition: (ReceiptReport) -> Bool) async throws {
        try await eventually("so much is copied", within: .seconds(60)) {
            let report = try await target.orders.incoming(server, key, seen: 0, waitMS: 0)
            guard report.phase == .prepared else { throw TestFailure("the copy has ended: \(report)") }
            return report.receipt.map(condition) == true
        }
    }

    @discardableResult
    func endLoan() async throws -> LoanReport {
        try await source.orders.takeBack(server, TakeBackOrder(epoch: epoch, key: key, targetRefused: false))
    }
}
