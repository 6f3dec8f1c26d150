import AsyncHTTPClient
import Fleet
import Foundation
import NIOCore
import NIOHTTP1

/// A migration as it moves: see ``GodwitClient/watchMigration(_:reconnectingFor:)``.
package struct MigrationEvents: AsyncSequence, Sendable {
    package typealias Element = MigrationView

    let client: GodwitClient
    let path: String
    let patience: Duration

    package func makeAsyncIterator() -> Iterator {
        Iterator(events: self)
    }

    package struct Iterator: AsyncIteratorProtocol {
        private let events: MigrationEvents
        private var body: HTTPClientResponse.Body.AsyncIterator?
        private var parser = EventParser()
        private var waiting: [MigrationView] = []
        private var last: MigrationView?
        private var worked = ContinuousClock.now
        private var pause = Duration.milliseconds(100)

        init(events: MigrationEvents) {
            self.events = events
        }

        package mutating func next() async throws -> MigrationView? {
            try await next(isolation: nil)
        }

        package mutating func next(isolation actor: isolated (any Actor)?) async throws -> MigrationView? {
            if let last, last.state.isFinished { return nil }
            while true {
                if !waiting.isEmpty {
                    let view = waiting.removeFirst()
                    if view == last { continue }
                    last = view
                    return view
                }
                do {
                    if body == nil { body = try await events.connect() }
                    guard let bytes = try await body?.next(isolation: actor) else {
                        throw ClientError(
                            .unreachable, "The controller at \(events.client.base) ended the stream of events; check that it runs.")
                    }
                    worked = .now
                    pause = .milliseconds(100)
                    waiting += try parser.feed(bytes.readableBytesView).compactMap(events.view)
                } catch {
                    try await Task.sleep(for: try delay(after: error))
                }
            }
        }

        /// How long to wait before the next connection. Throws when that would not help or patience is at its end.
        private mutating func delay(after error: any Error) throws -> Duration {
            body = nil
            parser = EventParser()
            let error = events.client.translated(error, deadline: GodwitClient.streamSilence)
            guard let failure = error as? ClientError, failure.isTransient, ContinuousClock.now - worked < events.patience else {
                throw error
            }
            defer { pause = Swift.min(pause * 2, .seconds(1)) }
            return pause
        }
    }

    private func connect() async throws -> HTTPClientResponse.Body.AsyncIterator {
        var request = client.request(.GET, path)
        request.headers.add(name: "accept", value: "text/event-stream")
        // Long beyond any migration; a broken stream is noticed by its silence.
        let response = try await client.streams.execute(request, timeout: .hours(24 * 30))
        guard response.status == .ok else {
            throw client.problem(response.status, try await response.body.collect(upTo: 1 << 20))
        }
        return response.body.makeAsyncIterator()
    }

    private func view(of event: EventParser.Event) throws -> MigrationView? {
        guard event.name == "migration" else { return nil }
        do {
            return try JSONDecoder().decode(MigrationView.self, from: Data(event.data.utf8))
        } catch {
            throw ClientError(
                .unexpectedAnswer,
                "An event of \(client.base)\(path) is not what this version of godwit reads; use the controller's version.",
                cause: error)
        }
    }
}

extension ClientError {
    /// Another connection a moment later may do.
    var isTransient: Bool {
        switch code {
        case .unreachable, .deadline: true
        case .problem: (problem?.status ?? 0) >= 500
        default: false
        }
    }
}
