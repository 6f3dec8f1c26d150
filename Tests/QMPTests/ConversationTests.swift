import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `A session with QEMU` {
    @Test func `starts with the greeting and the negotiation`() async throws {
        try await withClient { client, qemu async throws in
            #expect(client.version.major >= 7)
            #expect(client.isOpen)
            #expect(!client.isOutOfBandEnabled)
            #expect(client.peerPID == qemu.pid)
            #expect(try await client.queryVersion() == client.version)
        }
    }

    @Test func `carries fifty commands at once, each with its own answer`() async throws {
        try await withClient { client, _ in
            let answers = await withTaskGroup(of: (Int, String?).self) { group in
                for number in 0..<50 {
                    group.addTask {
                        let refusal = await #expect(throws: QMPError.self) { try await client.blockdevDel("node-\(number)") }
                        return (number, refusal?.reason)
                    }
                }
                return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            }
            #expect(answers.count == 50)
            for (number, reason) in answers { #expect(reason == "Failed to find node with node-name='node-\(number)'") }
        }
    }

    @Test func `tells QEMU's refusal by class and text`() async throws {
        try await withClient { client, _ in
            let unknown = await #expect(throws: QMPError.self) { try await client.execute("no-such-command") }
            #expect(unknown?.code == .command)
            #expect(unknown?.errorClass == .commandNotFound)
            #expect(unknown?.reason == "The command no-such-command has not been found")
            #expect(unknown?.command == "no-such-command")
            let missing = await #expect(throws: QMPError.self) { try await client.blockJobCancel("nothing") }
            #expect(missing?.errorClass == .deviceNotActive)
            let generic = await #expect(throws: QMPError.self) { try await client.blockdevDel("nothing") }
            #expect(generic?.errorClass == .genericError)
            #expect(generic?.message == "QEMU refused blockdev-del: Failed to find node with node-name='nothing' (GenericError)")
            #expect(client.isOpen)
        }
    }

    @Test func `passes text through unharmed`() async throws {
        try await withClient { client, _ in
            let odd = "é€😀\"\\\u{1}\t{}"
            let refusal = await #expect(throws: QMPError.self) { try await client.blockdevDel(odd) }
            #expect(refusal?.reason == "Failed to find node with node-name='\(odd)'")
        }
    }

    @Test func `calls an answer of another shape unexpected and goes on`() async throws {
        struct Other: Decodable, Sendable { let absent: String }
        try await withClient { client, _ async throws in
            let error = await #expect(throws: QMPError.self) { try await client.execute("query-status", as: Other.self) }
            #expect(error?.code == .unexpectedReply)
            #expect(try await client.queryStatus().running)
        }
    }

    @Test func `gives up at the deadline, drops the late answer and goes on`() async throws {
        try await withClient { client, qemu async throws in
            qemu.signal(SIGSTOP)
            let clock = ContinuousClock()
            let waited = await clock.measure {
                let error = await #expect(throws: QMPError.self) { try await client.execute("query-kvm", deadline: .milliseconds(200)) }
                #expect(error?.code == .deadline)
                #expect(error?.command == "query-kvm")
            }
            #expect(waited >= .milliseconds(200))
            #expect(waited < .seconds(5))
            // In flight when QEMU wakes: its answer comes after the late one and must not be mistaken for it.
            async let status = client.queryStatus()
            qemu.signal(SIGCONT)
            #expect(try await status.running)
            #expect(try await client.queryKVM().present)
        }
    }

    @Test func `honours cancellation and goes on`() async throws {
        try await withClient { client, qemu async throws in
            qemu.signal(SIGSTOP)
            let asking = Task { try await client.queryStatus() }
            let waiting = (0..<20).map { _ in Task { try await client.queryStatus() } }
            for task in waiting + [asking] { task.cancel() }
            for task in waiting + [asking] {
                await #expect(throws: CancellationError.self) { try await within(.seconds(5)) { try await task.value } }
            }
            qemu.signal(SIGCONT)
            #expect(try await client.queryStatus().running)
        }
    }

    @Test func `takes a message of hundreds of kilobytes`() async throws {
        try await withClient { client, _ in
            let reply = try await client.execute("query-qmp-schema")
            #expect(reply.serialized.count > 65536)
            #expect(try #require(reply.array?.count) > 1000)
        }
    }

    @Test func `sends a message of hundreds of kilobytes`() async throws {
        try await withClient { client, _ in
            let long = String(repeating: "x", count: 200_000)
            let refusal = await #expect(throws: QMPError.self) { try await client.blockdevDel(long) }
            #expect(refusal?.reason?.contains(long) == true)
        }
    }

    @Test func `ends with quit`() async throws {
        try await withClient { client, qemu in
            let events = client.events()
            try await client.quit()
            #expect(try await next("SHUTDOWN", of: events).data["reason"] == "host-qmp-quit")
            try await within(.seconds(5), "the end of the connection") { await client.closed() }
            #expect(!client.isOpen)
            let error = await #expect(throws: QMPError.self) { try await client.queryStatus() }
            #expect(error?.code == .connectionClosed)
            try await eventually("QEMU's end") { !qemu.isRunning }
        }
    }

    @Test func `fails every command at once when QEMU is killed`() async throws {
        try await withClient { client, qemu in
            // Stopped, so that none of them can have been answered before.
            qemu.signal(SIGSTOP)
            let commands = (0..<40).map { _ in Task { try await client.execute("query-qmp-schema", deadline: .seconds(30)) } }
            let last = await #expect(throws: QMPError.self) { try await client.execute("query-qmp-schema", deadline: .milliseconds(200)) }
            #expect(last?.code == .deadline)
            let ended = client.events()
            qemu.signal(SIGKILL)
            for command in commands {
                let error = await #expect(throws: QMPError.self) {
                    try await within(.seconds(2), "the failure") { try await command.value }
                }
                #expect(error?.code == .connectionClosed)
            }
            for await _ in ended {}
            #expect(!client.isOpen)
        }
    }

    @Test(arguments: 1...5) func `survives that QEMU is killed in the middle of its answers`(round: Int) async throws {
        try await withClient { client, qemu in
            let killed = ContinuousClock.now
            let outcomes = await withTaskGroup(of: QMPError?.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        await #expect(throws: QMPError.self) {
                            while true { try await client.execute("query-qmp-schema") }
                        }
                    }
                }
                await #expect(throws: Never.self) { try await client.execute("query-qmp-schema") }
                qemu.signal(SIGKILL)
                return await group.reduce(into: []) { $0.append($1) }
            }
            #expect(ContinuousClock.now - killed < .seconds(10))
            #expect(outcomes.count == 4)
            for error in outcomes { #expect(error?.code == .connectionClosed, "round \(round)") }
        }
    }
}
