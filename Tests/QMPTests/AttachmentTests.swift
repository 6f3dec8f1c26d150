import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `Attaching to QEMU` {
    @Test func `says at the deadline that another client is attached, then works when that one has left`() async throws {
        try await withClient { first, qemu async throws in
            let error = await #expect(throws: QMPError.self) { try await qemu.connect(deadline: .milliseconds(300)) }
            #expect(error?.code == .deadline)
            #expect(error?.message.contains("one client per -qmp socket") == true)
            #expect(try await first.queryStatus().running, "the first client is not disturbed")
            async let second = qemu.connect()
            first.close()
            #expect(try await second.queryStatus().running)
        }
    }

    @Test func `says so too when the listener's queue is full`() async throws {
        try await withClient { first, qemu in
            // QEMU lets the kernel keep two clients waiting; the fourth finds no room to wait.
            let errors = await withTaskGroup(of: QMPError?.self) { group in
                for _ in 0..<4 {
                    group.addTask { await #expect(throws: QMPError.self) { try await qemu.connect(deadline: .milliseconds(500)) } }
                }
                return await group.reduce(into: []) { $0.append($1) }
            }
            for error in errors { #expect(error?.code == .deadline) }
            #expect(errors.contains { $0?.message.contains("did not take the connection") == true })
            #expect(errors.contains { $0?.message.contains("no greeting") == true })
            first.close()
            let next = try await qemu.connect()
            #expect(try await next.queryStatus().running)
        }
    }

    @Test func `replaces a client at once, as often as one likes`() async throws {
        try await withQEMU { qemu in
            let before = try openDescriptors()
            for _ in 0..<200 {
                let client = try await qemu.connect()
                #expect(try await client.queryStatus().running)
                client.close()
            }
            try await eventually("the closing of the sockets") { try openDescriptors() < before + 100 }
        }
    }

    @Test func `replaces a client that left with commands under way and does not get its answers`() async throws {
        try await withQEMU { qemu in
            for _ in 0..<20 {
                let first = try await qemu.connect()
                let asking = (0..<10).map { _ in Task { try await first.execute("query-qmp-schema") } }
                _ = try? await first.queryStatus()
                first.close()
                for task in asking { _ = await task.result }
                let second = try await qemu.connect()
                #expect(try await second.queryStatus().running)
                second.close()
            }
        }
    }

    @Test func `leaves when the last reference goes`() async throws {
        try await withQEMU { qemu in
            var first: QMPClient? = try await qemu.connect()
            let events = try #require(first?.events())
            first = nil
            for await _ in events {}
            let second = try await qemu.connect()
            #expect(try await second.queryStatus().running)
        }
    }

    @Test func `serves two sockets side by side, both with all events`() async throws {
        try await withClient { main, qemu in
            let rescue = try await qemu.connectRescue()
            let (one, other) = (main.events(), rescue.events())
            try await main.stop()
            #expect(try await next("STOP", of: one) == next("STOP", of: other))
        }
    }

    @Test func `fails in words when nobody is there`() async throws {
        try await withFolder { folder in
            let absent = await #expect(throws: QMPError.self) { try await QMPClient.connect(path: "\(folder)/absent") }
            #expect(absent?.code == .couldNotConnect)
            #expect(absent?.message.contains("\(folder)/absent: No such file or directory") == true)
            let long = await #expect(throws: QMPError.self) {
                try await QMPClient.connect(path: "\(folder)/" + String(repeating: "x", count: 120))
            }
            #expect(long?.code == .couldNotConnect)
            #expect(long?.message.contains("Use a shorter folder") == true)
            let empty = await #expect(throws: QMPError.self) { try await QMPClient.connect(path: "") }
            #expect(empty?.code == .couldNotConnect)
        }
    }

    @Test func `fails at once at the socket that a killed QEMU left behind`() async throws {
        try await withQEMU { qemu in
            qemu.signal(SIGKILL)
            // Its last thread closes the socket, a moment after the process counts as dead: until then a connection is made and broken.
            try await eventually("refusal") {
                let error = await #expect(throws: QMPError.self) {
                    try await within(.seconds(2)) { try await qemu.connect(deadline: .seconds(30)) }
                }
                #expect([.couldNotConnect, .connectionClosed].contains(error?.code))
                return error?.message.contains("Connection refused") == true
            }
        }
    }

    @Test func `can be cancelled`() async throws {
        try await withClient { _, qemu in
            for _ in 0..<5 {
                let waiting = Task { try await qemu.connect(deadline: .seconds(30)) }
                await Task.yield()
                waiting.cancel()
                await #expect(throws: CancellationError.self) { try await within(.seconds(2)) { try await waiting.value } }
            }
        }
    }
}

private func openDescriptors() throws -> Int {
    let directory = try #require(opendir("/proc/self/fd"))
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    return count
}
