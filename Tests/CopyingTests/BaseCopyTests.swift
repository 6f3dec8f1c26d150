import Fleet
import Foundation
import Hypervisor
import Testing

@testable import Copying

private let mebibyte: Int64 = 1 << 20

/// Base images that several servers need at the same time.
@Suite(.serialized, .timeLimit(.minutes(2)))
struct BaseCopyTests {
    /// The copies of two servers that need the same image, slow enough to be seen.
    private func pair(_ lender: Lender) async throws -> (path: String, sets: [CopySet], source: CopySource) {
        try lender.makeFile("base", size: 64 * mebibyte, data: [0..<12 * mebibyte])
        let source = lender.source(try await lender.lend(["base"]))
        let name = try await BaseImages.contentName(of: lender.path("base"), format: .raw)
        let path = "\(lender.path("target"))/.base/\(name)"
        let sets = ["vm1", "vm2"].map { server in
            CopySet(
                [
                    FileToCopy(
                        name: "base", sizeBytes: 64 * mebibyte, identity: "1", path: path, tag: ".\(server)", isNamedByContent: true)
                ], rate: 8 * mebibyte)
        }
        return (path, sets, source)
    }

    private func finish(_ set: CopySet, _ source: CopySource) async throws {
        try await set.run(from: source)
        try await set.putInPlace()
        try await set.forgetJournals()
    }

    @Test func `one brings it, and the other waits for that`() async throws {
        try await Lender.run { lender in
            let (path, sets, source) = try await pair(lender)
            async let first: Void = finish(sets[0], source)
            try await until { sets[0].figures.bytesDone > mebibyte }
            async let second: Void = finish(sets[1], source)
            try await until { sets[1].figures.bytesDone > mebibyte }
            #expect(sets[1].events.map(\.code) == ["base-awaited"])
            _ = try await (first, second)
            #expect(sets[0].figures.bytesFetched == 12 * mebibyte && sets[0].fetchedAt != nil)
            #expect(sets[1].figures.bytesFetched == 0)
            let folder = (path as NSString).deletingLastPathComponent
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [(path as NSString).lastPathComponent])
            #expect(try await Program.run("cmp", [lender.path("base"), path], deadline: .seconds(30)).status == 0)
        }
    }

    @Test func `the other brings it when the first one gives up`() async throws {
        try await Lender.run { lender in
            let (path, sets, source) = try await pair(lender)
            let first = Task { try await finish(sets[0], source) }
            try await until { sets[0].figures.bytesDone > mebibyte }
            async let second: Void = finish(sets[1], source)
            try await until { !sets[1].events.isEmpty }
            first.cancel()
            await #expect(throws: (any Error).self) { try await first.value }
            try await second
            #expect(sets[1].figures.bytesFetched == 12 * mebibyte)
            #expect(try await Program.run("cmp", [lender.path("base"), path], deadline: .seconds(30)).status == 0)
        }
    }
}
