import ArgumentParser
import Dispatch
import Fleet
import Foundation
import Store

/// One process submits single migrations to an idle queue, now and then; another, a child of it, listens and claims. The latency is from
/// the submit's return to the claim's.
struct Wake: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "How soon a submit is claimed by another process.")

    @OptionGroup var place: Place
    @Option(help: "How many submits.") var times = 200
    @Option(help: "Milliseconds between two submits.") var gapMS = 40
    @Flag(help: ArgumentHelp("Be the one that claims.", visibility: .hidden)) var claims = false

    func run() async throws {
        if claims { return try await claim() }
        try await place.with { store in
            let servers = try await store.servers(ServerFilter(status: .running)).prefix(times)
            let child = Process()
            child.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
            child.arguments = ["wake", "--store", place.store, "--times", "\(servers.count)", "--claims"]
            let output = Pipe()
            child.standardOutput = output
            try child.run()
            let lines = Lines(output.fileHandleForReading)
            guard await lines.next() == "listening" else { throw BenchFailure("the process that claims does not listen") }
            var milliseconds: [Double] = []
            for server in servers {
                let migration = try await store.submitMigration(
                    server: server.id, mode: .live, options: MigrationOptions(), maxAttempts: 3, actor: "bench")
                let submitted = Self.now()
                guard let line = await lines.next() else { throw BenchFailure("the process that claims has ended") }
                let told = line.split(separator: " ")
                guard told.count == 2, told[0] == migration.id.value, let claimed = Int64(told[1]) else { throw BenchFailure(line) }
                milliseconds.append(max(0, Double(claimed - submitted) / 1e6))
                try await Task.sleep(for: .milliseconds(gapMS))
            }
            child.waitUntilExit()
            milliseconds.sort()
            tell(["p50": milliseconds.percentile(50) ?? 0, "p99": milliseconds.percentile(99) ?? 0])
        }
    }

    private func claim() async throws {
        try await place.with { store in
            var changes = store.changes().makeAsyncIterator()
            _ = try await store.claimMigrations(worker: "bench", leaseMS: 3_600_000, limit: 1000)
            print("listening")
            fflush(nil)
            var left = times
            while left > 0 {
                for migration in try await store.claimMigrations(worker: "bench", leaseMS: 3_600_000, limit: 10) {
                    print("\(migration.id) \(Self.now())")
                    fflush(nil)
                    left -= 1
                }
                if left > 0 { _ = await changes.next() }
            }
        }
    }

    /// Nanoseconds of the clock that all processes share.
    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}

/// Lines of another process, waited for where nobody else waits.
private final class Lines: Sendable {
    private let file: FileHandle
    private let queue = DispatchQueue(label: "store-bench.lines")

    init(_ file: FileHandle) { self.file = file }

    /// Nil at the end.
    func next() async -> String? {
        await withCheckedContinuation { continuation in
            queue.async { [file] in
                var line: [UInt8] = []
                while let byte = file.readData(ofLength: 1).first {
                    if byte == 10 { return continuation.resume(returning: String(decoding: line, as: UTF8.self)) }
                    line.append(byte)
                }
                continuation.resume(returning: nil)
            }
        }
    }
}
