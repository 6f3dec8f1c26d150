import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor
import Subprocess
import Synchronization

@testable import Copying

/// A folder with files that a real `qemu-storage-daemon` lends, and a place for their copies.
final class Lender: Sendable {
    let folder: String
    private let daemon = Mutex<StorageDaemon?>(nil)

    static func run(in parent: String? = nil, _ body: (Lender) async throws -> Void) async throws {
        let lender = Lender(parent ?? NSTemporaryDirectory())
        try DurableFile.makeFolder(lender.folder + "/target")
        do {
            try await body(lender)
        } catch {
            try? await lender.tearDown()
            throw error
        }
        try await lender.tearDown()
    }

    private init(_ parent: String) {
        folder = (parent as NSString).appendingPathComponent("copying-\(UUID().uuidString.prefix(8))")
    }

    private func tearDown() async throws {
        try? FileManager.default.removeItem(atPath: folder)
        try await daemon.withLock { $0 }?.end()
    }

    func path(_ name: String) -> String { "\(folder)/\(name)" }

    /// A sparse file with random data at some places.
    func makeFile(_ name: String, size: Int64, data: [Range<Int64>]) throws {
        let descriptor = open(path(name), O_RDWR | O_CREAT, 0o600)
        guard descriptor >= 0 else { throw Trouble("no file") }
        defer { close(descriptor) }
        ftruncate(descriptor, off_t(size))
        var generator = SystemRandomNumberGenerator()
        for range in data {
            var words = [UInt64](repeating: 0, count: Int(range.upperBound - range.lowerBound + 7) / 8)
            for index in words.indices { words[index] = generator.next() }
            let count = pwrite(descriptor, words, Int(range.upperBound - range.lowerBound), off_t(range.lowerBound))
            guard count == Int(range.upperBound - range.lowerBound) else { throw Trouble("not written") }
        }
        fsync(descriptor)
    }

    func lend(_ names: [String]) async throws -> NBDServer {
        let listener = try StreamSocket.listen("127.0.0.1", port: 0)
        let started = try await StorageDaemon.start(
            "qemu-storage-daemon", lending: names.map { .init(name: $0, path: path($0)) }, on: listener, certificates: nil,
            pidPath: path("daemon.pid"), logPath: path("daemon.log"))
        daemon.withLock { $0 = started }
        return NBDServer(address: "127.0.0.1", port: listener.port)
    }

    func source(_ server: NBDServer) -> CopySource {
        let folder = folder
        return CopySource(server: server) { file, chunkBytes, chunks in
            try await offloaded { try FileDigests.compute("\(folder)/\(file)", chunkBytes: chunkBytes, chunks: chunks) }
        }
    }

    func file(_ name: String, identity: String = "1", in place: String? = nil) throws -> FileToCopy {
        var status = stat()
        guard stat(path(name), &status) == 0 else { throw Trouble("no file \(name)") }
        return FileToCopy(
            name: name, sizeBytes: Int64(status.st_size), identity: identity, path: "\(place ?? path("target"))/\(name)")
    }

    /// Bytes that a file takes up.
    func allocated(_ path: String) -> Int64 {
        var status = stat()
        return stat(path, &status) == 0 ? Int64(status.st_blocks) * 512 : 0
    }

    func isEqual(_ name: String) async throws -> Bool {
        try await Program.run("cmp", [path(name), path("target/\(name)")], deadline: .seconds(60)).status == 0
    }
}

struct Trouble: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Waits for that to hold, at most 30 s.
func until(_ condition: () -> Bool) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(30))
    while !condition() {
        guard ContinuousClock.now < deadline else { throw Trouble("not in time") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
