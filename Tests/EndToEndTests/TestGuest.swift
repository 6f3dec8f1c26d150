import Client
import Fleet
import Foundation
import Subprocess
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// The small Linux that checks itself: records on its disk, generations in its memory, ticks on its console, heartbeats to the outside.
enum TestGuest {
    /// Where `script/bootstrap` has put it.
    static func folder() throws -> URL {
        guard let path = ProcessInfo.processInfo.environment["GODWIT_TEST_GUEST"] else {
            throw Failure("GODWIT_TEST_GUEST is not set: run the tests by script/test, or export it from `script/bootstrap --print-guest`")
        }
        return URL(filePath: path)
    }

    /// The folder of the checkers, beside these sources.
    static let checkers = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Guest")
}

extension DevFleet {
    /// Creates and starts a server with the test guest on host1, and waits until it works.
    ///
    /// - Parameter diskDataMB: MB of random data on its disk beyond the guest's records, so that there is something to copy.
    func startGuest(
        _ name: String = "vm1", memoryMB: Int = 128, dirtyMBs: Int = 10, diskDataMB: Int = 64, beatPort: Int? = nil
    ) async throws -> ServerView {
        let image = work.appending(path: "\(name).img")
        try makeImage(image, dataMB: diskDataMB)
        defer { try? FileManager.default.removeItem(at: image) }
        var append = try String(contentsOf: guest.appending(path: "cmdline"), encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        append += " godwit.dirty_mb_s=\(dirtyMBs) godwit.dirty_set_mb=16 godwit.records_s=50"
        if let beatPort { append += " godwit.beat=10.0.2.2:\(beatPort)" }
        let created = try await godwit(
            "server-create", name, "--memory-mb", String(memoryMB), "--disk", "image=\(image.path),format=qcow2",
            "--nic", "network=default", "--kernel", guest.appending(path: "vmlinuz").path, "--initrd",
            guest.appending(path: "initrd.gz").path, "--append", append, "--prefer-host", "host1")
        guard created.status == 0 else { throw Failure("server-create: \(created.error)") }
        let started = try await godwit("server-start", name)
        guard started.status == 0 else { throw Failure("server-start: \(started.error)") }
        let view = try await server(name)
        try await eventually("the guest ticks", within: .seconds(90)) { try console(of: view).contains("GODWIT tick=10 ") }
        return view
    }

    private func makeImage(_ file: URL, dataMB: Int) throws {
        #expect(FileManager.default.createFile(atPath: file.path, contents: nil))
        let handle = try FileHandle(forWritingTo: file)
        defer { try? handle.close() }
        try handle.truncate(atOffset: 1 << 30)
        try handle.seek(toOffset: 128 << 20)
        let random = try FileHandle(forReadingFrom: URL(filePath: "/dev/urandom"))
        defer { try? random.close() }
        for _ in 0..<dataMB { try handle.write(contentsOf: random.read(upToCount: 1 << 20) ?? Data()) }
    }

    /// What the server's guest has written to its console on the host it is on.
    func console(of server: ServerView) throws -> String {
        guard let path = server.consoleLog, let data = FileManager.default.contents(atPath: path) else { return "" }
        return String(decoding: data, as: UTF8.self)
    }

    /// The last tick of the guest on the host where the server is now.
    func lastTick(of server: ServerView) throws -> Int? {
        try console(of: server).split(separator: "GODWIT tick=").last.flatMap { Int($0.prefix { $0.isNumber }) }
    }

    /// Proves that the server's guest is whole: it still ticks, its memory is what it wrote, it booted once, and after a clean
    /// power-off every record that it acknowledged stands on its disk.
    func proveWhole(_ name: String, source: ServerView) async throws {
        let view = try await server(name)
        #expect(view.status == .running)
        let guests = try guests(of: view.id)
        #expect(guests.count == 1, "guests of \(name): \(guests)")
        #expect(guests.keys.contains(view.host.name), "its guest runs where the store says")
        let before = try lastTick(of: view) ?? 0
        try await eventually("the guest goes on ticking", within: .seconds(60)) { try (lastTick(of: view) ?? 0) > before + 20 }
        let stopped = try await godwit("server-stop", name)
        #expect(stopped.status == 0, "\(stopped.error)")
        let text = try console(of: view)
        #expect(text.contains("GODWIT stop"), "a clean power-off")
        #expect(!text.contains("Kernel panic"))
        if view.host.id != source.host.id { #expect(!text.contains("GODWIT start"), "the guest was booted again") }
        try await check("check-console", view.consoleLog ?? "", "--partial")
        let acknowledged = text.split(separator: " record=").last.map { String($0.prefix { $0.isNumber }) } ?? "0"
        let disk = try #require(try disks(of: view.id, on: view.host.name).first)
        try await check("check-records", disk.path, "--at-least", acknowledged)
    }

    /// Runs one of the guest's checkers.
    private func check(_ checker: String, _ arguments: String...) async throws {
        let result = try await Subprocess.run(
            .name("python3"), arguments: Arguments([TestGuest.checkers.appending(path: checker).path] + arguments),
            output: .string(limit: 1 << 16), error: .string(limit: 1 << 16))
        #expect(result.terminationStatus == .exited(0), "\(result.standardOutput) \(result.standardError)")
    }
}
