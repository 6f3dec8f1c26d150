import Glibc
import QMP
import Testing

/// What no real QEMU can be brought to do.
@Suite(.timeLimit(.minutes(1))) struct `A peer that breaks the rules` {
    func failure(of connect: () async throws -> QMPClient) async -> QMPError? {
        await #expect(throws: QMPError.self) { try await connect() }
    }

    @Test func `and says nothing runs into the deadline`() async throws {
        try await withFakeMonitor {
            $0.awaitEnd()
        } _: { path in
            let error = await failure { try await QMPClient.connect(path: path, deadline: .milliseconds(200)) }
            #expect(error?.code == .deadline)
        }
    }

    @Test(arguments: [
        "SSH-2.0-OpenSSH_9.2\r\n", "\u{0}\u{1}\u{2}\n", "[1]\n", #"{"QMP": 1}"# + "\n", #"{"QMP": {"version": "7.2"}}"# + "\n",
        #"{"hello": 1}"# + "\n",
    ])
    func `in its greeting is refused`(greeting: String) async throws {
        try await withFakeMonitor {
            $0.write(greeting)
            $0.awaitEnd()
        } _: { path in
            let error = await failure { try await QMPClient.connect(path: path) }
            #expect(error?.code == .protocolViolation)
            #expect(error?.message.contains(path) == true)
        }
    }

    @Test(arguments: ["", #"{"QMP": {"ver"#]) func `and closes before it has greeted`(beginning: String) async throws {
        try await withFakeMonitor {
            $0.write(beginning)
        } _: { path in
            let error = await failure { try await QMPClient.connect(path: path) }
            #expect(error?.code == .connectionClosed)
            #expect(error?.message.contains("in the middle of a message") == !beginning.isEmpty)
        }
    }

    @Test func `and refuses the negotiation`() async throws {
        try await withFakeMonitor { peer in
            peer.write(FakeMonitor.greeting)
            guard let request = peer.readLine() else { return }
            peer.write(#"{"error": {"class": "GenericError", "desc": "no"}, "id": \#(peer.id(of: request))}"# + "\r\n")
            peer.awaitEnd()
        } _: { path in
            let error = await failure { try await QMPClient.connect(path: path) }
            #expect(error?.code == .command)
            #expect(error?.command == "qmp_capabilities")
        }
    }

    @Test func `and loses what it was asked as it greets again is asked anew`() async throws {
        try await withFakeMonitor { peer in
            peer.write(FakeMonitor.greeting)
            _ = peer.readLine()
            peer.negotiate()
            peer.awaitEnd()
        } _: { path in
            let client = try await QMPClient.connect(path: path, deadline: .seconds(30))
            #expect(client.isOpen)
        }
    }

    @Test func `and forgets what was agreed on as it greets again is asked anew`() async throws {
        try await withFakeMonitor { peer in
            peer.write(FakeMonitor.greeting)
            peer.answer(#""return": {}"#)
            peer.write(FakeMonitor.greeting)
            peer.answer(#""error": {"class": "CommandNotFound", "desc": "Expecting capabilities negotiation with 'qmp_capabilities'"}"#)
            peer.answer(#""return": {}"#)
            peer.answer(#""return": {}"#)
            peer.answer(#""return": {"status": "running", "running": true, "singlestep": false}"#)
            peer.awaitEnd()
        } _: { path in
            let client = try await QMPClient.connect(path: path)
            #expect(try await client.queryStatus().running)
        }
    }

    @Test func `and closes after half a reply fails the command, not before`() async throws {
        try await withFakeMonitor { peer in
            peer.negotiate()
            _ = peer.readLine()
            peer.write(#"{"return": {"status": "run"#)
        } _: { path in
            let client = try await QMPClient.connect(path: path)
            let error = await #expect(throws: QMPError.self) { try await client.queryStatus() }
            #expect(error?.code == .connectionClosed)
            #expect(error?.command == "query-status")
            #expect(error?.message.contains("in the middle of a message") == true)
            #expect(!client.isOpen)
        }
    }

    @Test func `in a reply is left, with all its commands failed`() async throws {
        try await withFakeMonitor { peer in
            peer.negotiate()
            for _ in 0..<5 { _ = peer.readLine() }
            peer.write(#"{"event": "STOP"}"# + "\r\n" + "what? }\r\n")
            // Returns only when the client has hung up.
            peer.awaitEnd()
        } _: { path in
            let client = try await QMPClient.connect(path: path)
            let events = client.events()
            let commands = (0..<5).map { _ in Task { try await client.queryStatus() } }
            for command in commands {
                let error = await #expect(throws: QMPError.self) { try await command.value }
                #expect(error?.code == .protocolViolation)
                #expect(error?.message.contains("what? }") == true)
            }
            #expect(!client.isOpen)
            var names: [String] = []
            for await event in events { names.append(event.name) }
            #expect(names == ["STOP"], "what was right before the violation is kept")
            let later = await #expect(throws: QMPError.self) { try await client.queryStatus() }
            #expect(later?.code == .connectionClosed)
        }
    }

    @Test func `and does not read makes commands wait in order, and none is lost when it does`() async throws {
        try await withFakeMonitor { peer in
            peer.negotiate()
            // The first line is long: once it has begun to arrive, the rest cannot fit into the socket's buffer.
            while let request = peer.readLine() {
                peer.write(#"{"return": {"length": \#(request.utf8.count)}, "id": \#(peer.id(of: request))}"# + "\r\n")
            }
        } _: { path in
            let client = try await QMPClient.connect(path: path)
            let long = String(repeating: "x", count: 500_000)
            try await withThrowingTaskGroup(of: Int?.self) { group in
                for _ in 0..<12 {
                    group.addTask { try await client.execute("x", ["data": .string(long)], deadline: .seconds(30))["length"]?.int }
                }
                for try await length in group { #expect(try #require(length) > long.utf8.count) }
            }
        }
    }

    @Test func `and sends its messages byte by byte is understood`() async throws {
        try await withFakeMonitor { peer in
            peer.negotiate()
            while let request = peer.readLine() {
                for byte in #"{"return": {"status": "running", "running": true}, "id": \#(peer.id(of: request))}"#.utf8 {
                    peer.write([byte])
                }
                peer.write([0x0d])
                peer.write([0x0a])
            }
        } _: { path in
            let client = try await QMPClient.connect(path: path)
            #expect(try await client.queryStatus().running)
            #expect(try await client.queryStatus().running)
        }
    }

    @Test func `and no longer reads, though it has not closed, ends the connection`() async throws {
        try await withFakeMonitor { peer in
            peer.negotiate()
            peer.write(#"{"event": "STOP"}"# + "\r\n")
            shutdown(peer.connection, Int32(SHUT_RD))
            // Reading would return at once; a hang-up comes when the client has closed.
            var hangUp = pollfd(fd: peer.connection, events: 0, revents: 0)
            poll(&hangUp, 1, 30_000)
        } _: { path in
            let client = try await QMPClient.connect(path: path)
            try await eventually("the end") {
                _ = try? await client.execute("x", deadline: .milliseconds(100))
                return !client.isOpen
            }
        }
    }

    @Test func `and offers no out-of-band execution is told apart`() async throws {
        try await withFakeMonitor { peer in
            peer.write(#"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 0, "major": 2}, "package": ""}, "capabilities": []}}"# + "\r\n")
            guard let request = peer.readLine(), !request.contains("enable") else { return }
            peer.write(#"{"return": {}, "id": \#(peer.id(of: request))}"# + "\r\n")
            peer.answer(#""return": {}"#)
            peer.awaitEnd()
        } _: { path in
            let client = try await QMPClient.connect(path: path, enableOOB: true)
            #expect(!client.isOutOfBandEnabled)
            let error = await #expect(throws: QMPError.self) { try await client.yank([.migration], outOfBand: true) }
            #expect(error?.code == .invalidRequest)
        }
    }
}
