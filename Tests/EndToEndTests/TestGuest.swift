import Client
import Fleet
import Foundation
import Testing

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

/// A server with the test guest in it.
struct GuestRecipe: Sendable {
    var name = "vm1"
    /// MiB; 64 at least.
    var memoryMB = 128
    var dirtyMBs = 10
    var dirtySetMB = 16
    /// MB of random data on the first disk beyond the guest's records, so that there is something to copy.
    var diskDataMB = 64
    /// What the disks are: `format=qcow2`, `format=raw,storage=shared`, `base=/path`. The first has the records, and the data if it rests on
    /// nothing; the others are made empty.
    var disks = ["format=qcow2"]
    /// Sizes of the other disks, MiB.
    var otherDiskMB = 64
    var host = "host1"
    /// Port of this process on which heartbeats are listened to, for a fleet on loopback.
    var beatPort: Int?
    /// Whether its kernel is booted directly, as it must be to work; without, a server has its firmware and disks alone.
    var boots = true
    /// Whether the guest says nothing on the network by itself.
    var quiet = false
    /// More of the kernel's command line.
    var append = ""
    /// More options of `server-create`.
    var options: [String] = []
}

extension TestFleet {
    /// Creates a server with the test guest.
    func createGuest(_ recipe: GuestRecipe) async throws -> ServerView {
        let image = work.appending(path: "\(recipe.name).img")
        try makeImage(image, dataMB: recipe.diskDataMB)
        defer { try? FileManager.default.removeItem(at: image) }
        var append = try String(contentsOf: guest.appending(path: "cmdline"), encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        append += " godwit.dirty_mb_s=\(recipe.dirtyMBs) godwit.dirty_set_mb=\(recipe.dirtySetMB) godwit.records_s=50"
        append += networkParameters(of: recipe)
        if !recipe.append.isEmpty { append += " " + recipe.append }
        let disks = recipe.disks.enumerated().flatMap { index, disk -> [String] in
            let content = disk.contains("base=") ? "" : index == 0 ? "image=\(image.path)," : "size=\(recipe.otherDiskMB)M,"
            return ["--disk", content + disk]
        }
        let created = try await godwit(
            ["server-create", recipe.name, "--memory-mb", String(recipe.memoryMB)] + disks
                + ["--nic", "network=\(guestNetwork)", "--prefer-host", recipe.host]
                + (recipe.boots
                    ? [
                        "--kernel", guest.appending(path: "vmlinuz").path, "--initrd", guest.appending(path: "initrd.gz").path, "--append",
                        append,
                    ] : [])
                + recipe.options)
        guard created.status == 0 else { throw Failure("server-create: \(created.error)") }
        return try await server(recipe.name)
    }

    /// Creates and starts a server with the test guest and waits until it works.
    func startGuest(_ recipe: GuestRecipe) async throws -> ServerView {
        _ = try await createGuest(recipe)
        return try await startGuest(recipe.name)
    }

    /// Starts a server and waits until its guest works.
    func startGuest(_ name: String) async throws -> ServerView {
        let started = try await godwit("server-start", name)
        guard started.status == 0 else { throw Failure("server-start: \(started.error)") }
        return try await ticking(name)
    }

    /// Waits until the guest of a server, which has just been started, works.
    func ticking(_ name: String) async throws -> ServerView {
        let view = try await server(name)
        try await eventually("the guest ticks", within: .seconds(90)) { try console(of: view).contains("GODWIT tick=10 ") }
        return try await server(name)
    }

    /// Creates and starts a server with the test guest on host1, and waits until it works.
    func startGuest(
        _ name: String = "vm1", memoryMB: Int = 128, dirtyMBs: Int = 10, diskDataMB: Int = 64, beatPort: Int? = nil
    ) async throws -> ServerView {
        try await startGuest(
            GuestRecipe(name: name, memoryMB: memoryMB, dirtyMBs: dirtyMBs, diskDataMB: diskDataMB, beatPort: beatPort))
    }

    /// Makes a raw image of 1 GiB with random data behind the region of the guest's records.
    func makeImage(_ file: URL, dataMB: Int) throws {
        #expect(FileManager.default.createFile(atPath: file.path, contents: nil))
        let handle = try FileHandle(forWritingTo: file)
        defer { try? handle.close() }
        try handle.truncate(atOffset: 1 << 30)
        try handle.seek(toOffset: 128 << 20)
        let random = try FileHandle(forReadingFrom: URL(filePath: "/dev/urandom"))
        defer { try? random.close() }
        // A text that can be looked for on the wire, at the head of bytes that nobody can guess.
        try handle.write(contentsOf: Data((0..<4096).flatMap { _ in Sniffer.diskMarker }))
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
    ///
    /// - Parameter heard: the last record that the guest acknowledged to somebody outside.
    func proveWhole(_ name: String, source: ServerView, heard: UInt64 = 0) async throws {
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
        let acknowledged = text.split(separator: " record=").last.flatMap { UInt64($0.prefix { $0.isNumber }) } ?? 0
        let disk = try #require(try disks(of: view.id, on: view.host.name).min { $0.lastPathComponent < $1.lastPathComponent })
        try await check("check-records", disk.path, "--at-least", String(max(acknowledged, heard)))
    }

    /// Runs one of the guest's checkers.
    func check(_ checker: String, _ arguments: String...) async throws {
        let answer = try await execute(["python3", TestGuest.checkers.appending(path: checker).path] + arguments)
        #expect(answer.status == 0, "\(answer.output) \(answer.error)")
    }
}
