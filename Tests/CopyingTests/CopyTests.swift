import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor
import Testing

@testable import Copying

private let mebibyte: Int64 = 1 << 20

@Suite(.serialized, .timeLimit(.minutes(3)))
struct CopyTests {
    /// The problem that a body ends with.
    private func problem(_ body: () async throws -> Void) async throws -> AgentProblem {
        do {
            try await body()
        } catch let problem as AgentProblem {
            return problem
        }
        throw Trouble("it did not fail")
    }

    @Test func `only data travels, and the copy is equal and sparse`() async throws {
        try await Lender.run { lender in
            // Fragments, a tail that is no whole block, and a chunk at the very end.
            let size = 300 * mebibyte + 12_345
            try lender.makeFile(
                "disk0", size: size,
                data: [
                    0..<3 * mebibyte, 10 * mebibyte + 4096..<10 * mebibyte + 8192, 100 * mebibyte + 4096..<104 * mebibyte,
                    size - 5000..<size,
                ])
            try lender.makeFile("nvram", size: 540_672, data: [0..<540_672])
            try lender.makeFile("tiny", size: 5, data: [0..<5])
            try lender.makeFile("empty", size: 0, data: [])
            try lender.makeFile("hole", size: 8 * mebibyte, data: [])
            let names = ["disk0", "nvram", "tiny", "empty", "hole"]
            let server = try await lender.lend(names.filter { $0 != "empty" })
            let set = CopySet(try names.map { try lender.file($0) }, rate: nil)
            try await set.run(from: lender.source(server))
            try await set.putInPlace()
            try await set.forgetJournals()
            for name in names { #expect(try await lender.isEqual(name), "\(name)") }
            let figures = set.figures
            #expect(figures.bytesFetched < 8 * mebibyte)
            #expect(figures.bytesFetched == figures.bytesTotal && figures.bytesDone == figures.bytesTotal)
            #expect(figures.bytesVerified == figures.bytesTotal)
            #expect(lender.allocated(lender.path("target/disk0")) < 9 * mebibyte)
            #expect(set.events.isEmpty)
            #expect(try FileManager.default.contentsOfDirectory(atPath: lender.path("target")).sorted() == names.sorted())
        }
    }

    @Test func `a qcow2 file keeps its internal snapshots, and nobody can write to it meanwhile`() async throws {
        try await Lender.run { lender in
            let path = lender.path("disk0.qcow2")
            func run(_ program: String, _ arguments: [String]) async throws -> Program.Outcome {
                try await Program.run(program, arguments, deadline: .seconds(30))
            }
            #expect(try await run("qemu-img", ["create", "-f", "qcow2", path, "64M"]).status == 0)
            #expect(try await run("qemu-io", ["-c", "write -P 7 0 4M", path]).status == 0)
            #expect(try await run("qemu-img", ["snapshot", "-c", "before", path]).status == 0)
            #expect(try await run("qemu-io", ["-c", "write -P 9 0 4M", path]).status == 0)
            let server = try await lender.lend(["disk0.qcow2"])
            let blocked = try await run("qemu-io", ["-c", "write 0 512", path])
            #expect(blocked.status != 0 && (blocked.error + blocked.output).contains("lock"))
            let set = CopySet([try lender.file("disk0.qcow2")], rate: nil)
            try await set.run(from: lender.source(server))
            try await set.putInPlace()
            let copy = lender.path("target/disk0.qcow2")
            #expect(try await run("qemu-img", ["snapshot", "-l", copy]).output.contains("before"))
            #expect(try await run("qemu-img", ["snapshot", "-a", "before", copy]).status == 0)
            #expect(try await run("qemu-io", ["-c", "read -P 7 0 4M", copy]).output.contains("read 4194304/4194304"))
        }
    }

    @Test(arguments: [true, false])
    func `a connection that is cut half-way costs next to nothing`(isJournalKept: Bool) async throws {
        try await Lender.run { lender in
            let data = 64 * mebibyte
            try lender.makeFile("disk0", size: 500 * mebibyte, data: [20 * mebibyte..<20 * mebibyte + data])
            let server = try await lender.lend(["disk0"])
            let relay = try Relay(to: server.port, cutAt: data / 2)
            defer { relay.close() }
            let source = lender.source(NBDServer(address: "127.0.0.1", port: relay.port))
            let file = try lender.file("disk0")
            let first = CopySet([file], rate: nil)
            let told = try await problem { try await first.run(from: source) }
            #expect(told.reason.code == .connectionLost)
            if !isJournalKept {
                // As if it had been killed before its first checkpoint.
                let path = file.path + file.tag + ".copy"
                var journal = try #require(try CopyJournal.read(path))
                journal.done = ChunkSet(capacity: journal.done.capacity)
                try journal.write(to: path)
            }
            // Another process: all that it has is on the disk.
            let second = CopySet([file], rate: nil)
            try await second.run(from: source)
            try await second.putInPlace()
            #expect(try await lender.isEqual("disk0"))
            #expect(second.figures.bytesVerified == data)
            // What was under way at the cut, in four connections, and headers.
            #expect(relay.passed <= data + 6 * mebibyte, "\(relay.passed - data) bytes were sent again")
            if !isJournalKept { #expect(second.figures.bytesCompared >= data / 2 - 6 * mebibyte) }
        }
    }

    @Test func `with another content of the source nothing of an earlier copy counts`() async throws {
        try await Lender.run { lender in
            try lender.makeFile("disk0", size: 32 * mebibyte, data: [0..<8 * mebibyte])
            let server = try await lender.lend(["disk0"])
            let relay = try Relay(to: server.port, cutAt: 4 * mebibyte)
            defer { relay.close() }
            let source = lender.source(NBDServer(address: "127.0.0.1", port: relay.port))
            _ = try await problem { try await CopySet([try lender.file("disk0", identity: "1")], rate: nil).run(from: source) }
            let second = CopySet([try lender.file("disk0", identity: "2")], rate: nil)
            try await second.run(from: source)
            try await second.putInPlace()
            #expect(second.figures.bytesFetched == 8 * mebibyte && second.figures.bytesCompared == 0)
            #expect(try await lender.isEqual("disk0"))
        }
    }

    @Test func `a source that tells fewer digests than were asked for proves nothing`() async throws {
        try await Lender.run { lender in
            try lender.makeFile("disk0", size: 32 * mebibyte, data: [0..<32 * mebibyte])
            let honest = lender.source(try await lender.lend(["disk0"]))
            let source = CopySource(server: honest.server) { file, chunkBytes, chunks in
                try await Array(honest.digests(file, chunkBytes, chunks).dropLast())
            }
            let told = try await problem { try await CopySet([try lender.file("disk0")], rate: nil).run(from: source) }
            #expect(told.reason.code == .agentError && told.reason.message.contains("another number of digests"))
        }
    }

    @Test func `a byte that flips on the way is found, named and copied again`() async throws {
        try await Lender.run { lender in
            try lender.makeFile("disk0", size: 64 * mebibyte, data: [0..<32 * mebibyte])
            let server = try await lender.lend(["disk0"])
            let relay = try Relay(to: server.port, flips: [10 * mebibyte])
            defer { relay.close() }
            let set = CopySet([try lender.file("disk0")], rate: nil)
            try await set.run(from: lender.source(NBDServer(address: "127.0.0.1", port: relay.port)))
            try await set.putInPlace()
            #expect(try await lender.isEqual("disk0"))
            #expect(set.figures.chunksRepaired == 1)
            #expect(set.events.count == 1 && set.events[0].code == .verifyFailed && set.events[0].message.contains("disk0, at byte "))
        }
    }

    @Test func `a source that is never equal is given up`() async throws {
        try await Lender.run { lender in
            try lender.makeFile("disk0", size: 4 * mebibyte, data: [0..<4 * mebibyte])
            let server = try await lender.lend(["disk0"])
            var source = lender.source(server)
            let digests = source.digests
            // A host whose memory flips bits: its digests never agree with its disk.
            source.digests = { file, chunkBytes, chunks in
                var digests = try await digests(file, chunkBytes, chunks)
                if let place = chunks.flatMap(Array.init).firstIndex(of: 2) {
                    digests[place] = Digest(UnsafeRawBufferPointer(start: nil, count: 0))
                }
                return digests
            }
            let file = try lender.file("disk0")
            let told = try await problem { try await CopySet([file], rate: nil).run(from: source) }
            #expect(told.reason.code == .verifyFailed && told.reason.message.contains("copied again 3 times"))
        }
    }

    @Test func `a full disk is told as such`() async throws {
        try await Lender.run { lender in
            let small = lender.path("small")
            try DurableFile.makeFolder(small)
            #expect(try await Program.run("mount", ["-t", "tmpfs", "-o", "size=8M", "tmpfs", small], deadline: .seconds(10)).status == 0)
            defer { umount2(small, Int32(MNT_DETACH)) }
            try lender.makeFile("disk0", size: 64 * mebibyte, data: [0..<32 * mebibyte])
            let server = try await lender.lend(["disk0"])
            let file = try lender.file("disk0", in: small)
            let told = try await problem { try await CopySet([file], rate: nil).run(from: lender.source(server)) }
            #expect(told.reason.code == .diskFull)
        }
    }

    @Test func `the budget holds over all files together, and can be changed on the way`() async throws {
        try await Lender.run { lender in
            for name in ["disk0", "disk1"] { try lender.makeFile(name, size: 24 * mebibyte, data: [0..<24 * mebibyte]) }
            let server = try await lender.lend(["disk0", "disk1"])
            // At this rate it would take 12 s.
            let rate = 4 * mebibyte
            let set = CopySet([try lender.file("disk0"), try lender.file("disk1")], rate: rate)
            let begin = ContinuousClock.now
            async let copied: Void = set.run(from: lender.source(server))
            // A second's worth comes at once; what follows is held back.
            try await until { set.figures.bytesFetched > rate * 3 / 2 }
            let early = set.figures
            let elapsed = begin.duration(to: .now).inMilliseconds
            // A token bucket lets a second's worth through ahead of its time.
            #expect(early.bytesFetched <= rate * (elapsed + 1000) / 1000, "\(early) after \(elapsed) ms")
            await set.setRate(nil)
            try await copied
            #expect(begin.duration(to: .now) < .seconds(10))
        }
    }

    @Test func `a cancelled copy ends at once, also while the peer is silent`() async throws {
        try await Lender.run { lender in
            try lender.makeFile("disk0", size: 8 * mebibyte, data: [0..<8 * mebibyte])
            // Takes connections and never says a word.
            let silent = try StreamSocket.listen("127.0.0.1", port: 0)
            let file = try lender.file("disk0")
            let source = lender.source(NBDServer(address: "127.0.0.1", port: silent.port))
            let copying = Task { try await CopySet([file], rate: nil).run(from: source) }
            let connection = try await silent.accept()
            defer { withExtendedLifetime(connection) {} }
            let begin = ContinuousClock.now
            copying.cancel()
            await #expect(throws: CancellationError.self) { try await copying.value }
            #expect(begin.duration(to: .now) < .seconds(2))
        }
    }
}
