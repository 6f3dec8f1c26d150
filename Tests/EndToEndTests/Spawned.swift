import Foundation
import Synchronization

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// A program that runs on while the test does other things.
final class Spawned: Sendable {
    private let process: Process
    let pid: Int32

    /// - Parameters:
    ///   - command: found by path or name.
    ///   - log: what it writes goes to the end of this file.
    ///   - input: its standard input, closed here; nothing when left out.
    init(_ command: [String], log: URL, input: FileDescriptor? = nil) throws {
        if !FileManager.default.fileExists(atPath: log.path) { _ = FileManager.default.createFile(atPath: log.path, contents: nil) }
        let output = try FileHandle(forWritingTo: log)
        try output.seekToEnd()
        process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = command
        process.standardInput = input.map { FileHandle(fileDescriptor: $0.rawValue, closeOnDealloc: true) } ?? FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = output
        // Threads of Swift's pool block signals, and a child inherits that: it would not end when asked.
        var none = sigset_t()
        var before = sigset_t()
        sigemptyset(&none)
        pthread_sigmask(SIG_SETMASK, &none, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        try process.run()
        pid = process.processIdentifier
    }

    var isRunning: Bool { process.isRunning }

    func signal(_ number: Int32) {
        if process.isRunning { kill(pid, number) }
    }

    /// Waits for its end.
    func ended(within limit: Duration) async throws {
        try await eventually("process \(pid) ends", within: limit) { !process.isRunning }
    }
}
