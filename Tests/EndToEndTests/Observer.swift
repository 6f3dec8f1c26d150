import Foundation
import Testing

/// A client outside, on the guests' network, that watches one guest.
struct Observer: Sendable {
    let log: URL

    /// What it has heard up to now.
    func sight() throws -> Sight { try Sight(log: log) }

    /// What the test tells of a stretch of time: how long the guest was silent to each of its listeners, and what was lost.
    ///
    /// - Parameter limit: no silence may be longer. Answers are missing while the guest stands still; nothing else may be.
    func report(_ what: String, since start: UInt64, silenceBelow limit: Duration, sourceLocation: SourceLocation = #_sourceLocation) throws
    {
        let sight = try sight()
        var words: [String] = []
        for (kind, name) in [(Sight.Kind.beat, "heartbeats"), (.echo, "answers"), (.ping, "pings"), (.line, "stream")]
        where !sight.of(kind).isEmpty {
            let silence = sight.longestSilence(kind, from: start)
            words.append("\(name) \(silence.milliseconds) ms")
            #expect(silence < limit, "\(what): no \(name) for \(silence)", sourceLocation: sourceLocation)
        }
        #expect(!words.isEmpty, "\(what): nothing was heard at all", sourceLocation: sourceLocation)
        #expect(sight.missing(.beat) == 0, "\(what): heartbeats were lost", sourceLocation: sourceLocation)
        #expect(sight.brokenLines == 0, "\(what): the stream broke or lost lines", sourceLocation: sourceLocation)
        #expect(sight.memoryErrors == 0, sourceLocation: sourceLocation)
        #expect(sight.boots.count == 1, "\(what): boots \(sight.boots)", sourceLocation: sourceLocation)
        print(
            "outside: \(what): longest silence: \(words.joined(separator: ", ")); lost: \(sight.missing(.beat)) of \(sight.of(.beat).count) heartbeats,"
                + " \(sight.brokenLines) of \(sight.of(.line).count) lines; unanswered: \(sight.missing(.echo)) of \(sight.of(.echo).count)"
        )
    }
}

extension Duration {
    var milliseconds: Int64 { components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000 }
}

extension NetFleet {
    /// Starts a client outside that watches the guest of a server, and waits until it hears it.
    ///
    /// - Parameter quiet: the guest says nothing by itself: only asked, it answers.
    func observe(_ name: String, quiet: Bool = false) async throws -> Observer {
        let place = place(of: name)
        let log = work.appending(path: "observer/\(name).log")
        try? FileManager.default.removeItem(at: log)
        // Another guest may have had this address before.
        try await observer.ip("neigh flush dev lan")
        _ = try Spawned(
            observer.command() + ["chrt", "--fifo", "10", "python3", TestGuest.checkers.appending(path: "observe").path]
                + ["--guest", place.address, "--log", log.path, "--period-ms", "5", "--echo", String(NetFleet.echoPort)]
                + (quiet ? [] : ["--ping", "--beats", String(place.beatPort), "--stream", String(NetFleet.streamPort)]),
            log: work.appending(path: "log/observer-\(name).log"))
        let seen = Observer(log: log)
        try await eventually("the guest of \(name) is heard outside", within: .seconds(60)) {
            guard FileManager.default.fileExists(atPath: log.path) else { return false }
            let sight = try seen.sight()
            return sight.of(.echo).count > 20 && (quiet || (sight.of(.beat).count > 20 && sight.of(.line).count > 5))
        }
        return seen
    }

    /// Ends clients outside: all, or the one that writes to a file.
    func endObservers(_ log: URL? = nil) async throws {
        let place = log?.path ?? path("observer")
        for process in try Processes.mentioning(place) where process.arguments.first != "nsenter" { kill(process.pid, SIGTERM) }
        try await eventually("the clients outside end", within: .seconds(60)) { try Processes.mentioning(place).isEmpty }
    }
}
