import Foundation
import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `Events` {
    @Test func `come in order, with QEMU's own time`() async throws {
        try await withClient(smallPC) { client, _ in
            let events = client.events()
            let before = Int64(Date.now.timeIntervalSince1970 * 1_000_000)
            try await client.cont()
            try await client.stop()
            let resumed = try await next("RESUME", of: events)
            let stopped = try await next("STOP", of: events)
            let after = Int64(Date.now.timeIntervalSince1970 * 1_000_000)
            let (start, end) = (try #require(resumed.timestamp), try #require(stopped.timestamp))
            #expect(before <= start && start <= end && end <= after)
            #expect(stopped.data == [:])
        }
    }

    @Test func `carry their data`() async throws {
        try await withClient(smallPC) { client, _ in
            let events = client.events()
            try await client.cont()
            try await client.systemPowerdown()
            #expect(try await next("POWERDOWN", of: events).data == [:])
            try await client.quit()
            let data = try await next("SHUTDOWN", of: events).data
            #expect(data["guest"] == false)
            #expect(data["reason"] == "host-qmp-quit")
        }
    }

    @Test func `reach every subscriber from its subscription on, whoever reads late or leaves`() async throws {
        try await withClient { client, _ in
            let early = client.events()
            let idle = client.events()
            var dropped: AsyncStream<QMPEvent>? = client.events()
            try await client.stop()
            #expect(dropped != nil)
            dropped = nil
            let late = client.events()
            try await client.cont()
            client.close()
            for (events, expected) in [(early, ["STOP", "RESUME"]), (late, ["RESUME"]), (idle, ["STOP", "RESUME"])] {
                var names: [String] = []
                for await event in events { names.append(event.name) }
                #expect(names == expected)
            }
        }
    }

    @Test func `end at once for who subscribes after the end`() async throws {
        try await withClient { client, _ in
            client.close()
            for await _ in client.events() { Issue.record("an event from nowhere") }
            await client.closed()
        }
    }

    @Test func `end when QEMU is killed`() async throws {
        try await withClient { client, qemu in
            let events = client.events()
            qemu.signal(SIGKILL)
            try await within(.seconds(2), "the end of the events") { for await _ in events {} }
            #expect(!client.isOpen)
        }
    }

    @Test func `waiting for the end can be cancelled without ending it`() async throws {
        try await withClient { client, _ in
            let waiting = Task { await client.closed() }
            waiting.cancel()
            try await within(.seconds(2), "the return of closed()") { await waiting.value }
            #expect(try await client.queryStatus().running)
        }
    }
}
