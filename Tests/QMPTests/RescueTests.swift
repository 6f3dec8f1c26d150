import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `Rescue out-of-band` {
    @Test func `frees a QEMU whose main loop hangs on a dead connection`() async throws {
        try await withClient { target, targetQEMU in
            let export = "\(targetQEMU.folder)/nbd"
            try await target.blockdevAdd(["driver": "null-co", "node-name": "disk", "size": 1_048_576, "read-zeroes": true])
            try await target.nbdServerStart(["type": "unix", "data": ["path": .string(export)]])
            try await target.blockExportAdd(id: "export", nodeName: "disk", name: "d", writable: true)
            try await withClient { source, sourceQEMU in
                let rescue = try await sourceQEMU.connectRescue()
                #expect(rescue.isOutOfBandEnabled)
                try await source.blockdevAdd([
                    "driver": "nbd", "node-name": "nbd0", "export": "d", "server": ["type": "unix", "path": .string(export)],
                ])
                #expect(try await rescue.queryYank().contains(.blockNode("nbd0")))

                targetQEMU.signal(SIGSTOP)
                async let reading = source.execute(
                    "human-monitor-command", ["command-line": "qemu-io nbd0 \"read 0 512\""], deadline: .seconds(30))
                // The window is full of what hangs, and yet the rescue gets through.
                try await eventually("the hang") {
                    let errors = await withTaskGroup(of: QMPError?.self) { group in
                        for _ in 0..<20 {
                            group.addTask { await failure { try await rescue.execute("query-status", deadline: .milliseconds(300)) } }
                        }
                        return await group.reduce(into: []) { $0.append($1) }
                    }
                    return errors.allSatisfy { $0?.code == .deadline }
                }
                let clock = ContinuousClock()
                let took = try await clock.measure { try await rescue.yank([.blockNode("nbd0")], outOfBand: true, deadline: .seconds(5)) }
                #expect(took < .seconds(1))
                _ = try await reading
                #expect(try await rescue.queryStatus().running, "the late answers were dropped and the session goes on")
                targetQEMU.signal(SIGCONT)
            }
        }
    }

    @Test func `is refused for a command that does not allow it`() async throws {
        try await withQEMU { qemu in
            let rescue = try await qemu.connectRescue()
            let error = await #expect(throws: QMPError.self) { try await rescue.executeOutOfBand("query-status") }
            #expect(error?.code == .command)
            #expect(error?.reason == "The command query-status does not support OOB")
            let nothing = await #expect(throws: QMPError.self) { try await rescue.yank([.migration], outOfBand: true) }
            #expect(nothing?.code == .command)
        }
    }

    @Test func `is refused here on a session without it`() async throws {
        try await withClient { client, _ in
            let error = await #expect(throws: QMPError.self) { try await client.executeOutOfBand("yank") }
            #expect(error?.code == .invalidRequest)
        }
    }
}

private func failure(_ body: () async throws -> JSONValue) async -> QMPError? {
    do {
        _ = try await body()
        return nil
    } catch {
        return error as? QMPError
    }
}
