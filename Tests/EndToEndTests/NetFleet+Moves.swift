import Client
import Fleet
import Foundation
import Testing

/// A migration with its history.
struct Story: Decodable, Sendable {
    var history: [TransitionView]
}

extension NetFleet {
    /// Submits a migration of a server that is off, or a rescue, and returns it.
    func move(_ server: String, _ options: String...) async throws -> MigrationView { try await move(server, options) }

    func move(_ server: String, _ options: [String]) async throws -> MigrationView {
        let answer = try await godwit(["server-migrate", server] + options + ["--output", "json"])
        guard answer.status == 0 else { throw Failure("server-migrate exited with \(answer.status): \(answer.error)") }
        return try JSONDecoder().decode(MigrationView.self, from: Data(answer.output.utf8))
    }

    func history(_ migration: String) async throws -> [TransitionView] {
        try await decode(Story.self, "migration-show", migration).history
    }

    /// Waits until a migration stands where the condition holds; fails when it is finished before.
    func watch(
        _ what: String, _ id: String, within limit: Duration = .seconds(90), _ condition: @Sendable (MigrationView) -> Bool
    ) async throws {
        try await eventually("\(what) of migration \(id)", within: limit) {
            let now = try await migration(id)
            if condition(now) { return true }
            if now.state.isFinished {
                throw Failure("\(what): the migration is \(now.state.rawValue) already: \(now.reason?.message ?? "")")
            }
            return false
        }
    }

    /// Waits for the end, which must be `ready`.
    @discardableResult
    func arrive(_ id: String, within limit: Duration = .seconds(180), sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> MigrationView
    {
        let end = try await finish(id, within: limit)
        #expect(end.state == .ready, "\(end.reason?.message ?? "without a reason")", sourceLocation: sourceLocation)
        return end
    }

    /// Waits for the end, which must be `failed` with a sentence; returns both in small letters, code first.
    func lose(_ id: String, within limit: Duration = .seconds(180), sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> (code: String, sentence: String)
    {
        let end = try await finish(id, within: limit)
        #expect(end.state == .failed, sourceLocation: sourceLocation)
        let reason = try #require(end.reason, sourceLocation: sourceLocation)
        return (reason.code.description, reason.message.lowercased())
    }

    /// Starts a client, lets the body migrate the server, and reports what the client saw of it.
    ///
    /// - Parameter silenceBelow: what no silence may exceed; by far more than a quiet machine needs.
    func watched(
        _ name: String, _ what: String, silenceBelow limit: Duration = .seconds(4), quiet: Bool = false,
        sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
    ) async throws -> UInt64 {
        let client = try await observe(name, quiet: quiet)
        let start = Sight.now
        try await body()
        try await hear(client, further: 100)
        try client.report(what, since: start, silenceBelow: limit, sourceLocation: sourceLocation)
        return try client.sight().acknowledged
    }

    /// Waits until nothing of a server is left on a host: no file, no guest.
    func clean(_ host: String, of server: ServerView, within limit: Duration = .seconds(40)) async throws {
        try await eventually("\(host) keeps nothing of \(server.name)", within: limit) {
            try files(in: "\(host)/local/\(server.id)").isEmpty && guests(of: server.id)[host] == nil
        }
    }

    /// Runs `godwit`, which must succeed.
    func command(_ arguments: String...) async throws {
        let answer = try await godwit(arguments)
        guard answer.status == 0 else { throw Failure("\(arguments.joined(separator: " ")): \(answer.error)") }
    }

    /// Stops a server's guest by its power button.
    func stop(_ name: String) async throws { try await command("server-stop", name) }

    /// Bytes that a file takes on its file system.
    func allocated(_ file: URL) throws -> Int64 {
        var info = stat()
        guard stat(file.path, &info) == 0 else { throw Failure("no \(file.path)") }
        return Int64(info.st_blocks) * 512
    }
}
