import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor
import Identity
import Testing

@testable import Agent

/// How the streams of a migration travel, between real QEMUs.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct StreamTests {
    static func move(_ hosts: [TestHost], _ streams: StreamOptions, disks: Int = 1) async throws {
        let server = ServerID.unique()
        let parameters = "godwit.dirty_mb_s=10 godwit.dirty_set_mb=8" + (disks == 0 ? " godwit.disk=none" : "")
        let report = try await boot(TestGuest.description(server, disks: disks, parameters: parameters), on: hosts[0])
        let boot = TestGuest.tick(report.consoleLog)?["boot"]
        var mover = Mover(server, from: hosts[0], to: hosts[1])
        mover.streams = streams
        let endpoints = try await mover.prepare()
        try await mover.mirror(endpoints)
        try await mover.outgoing(.mirrored)
        try await mover.sendMemory(endpoints)
        try await mover.outgoing(.confirmed)
        try await mover.incoming(.running)
        let there = try await hosts[1].orders.guest(server)
        try await MigrationFaultTests.expectTicking(there.consoleLog, boot: boot)
        try await hosts[0].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .source))
        // And back, in the clear: what the first move set up does not stick.
        let back = Mover(server, from: hosts[1], to: hosts[0], migration: .unique())
        let others = try await back.prepare()
        try await back.mirror(others)
        try await back.outgoing(.mirrored)
        try await back.sendMemory(others)
        try await back.outgoing(.confirmed)
        let home = try await hosts[0].orders.guest(server)
        try await MigrationFaultTests.expectTicking(home.consoleLog, boot: boot)
    }

    @Test func `go encrypted, by the agents' own certificates`() async throws {
        try await withHosts("a", "b") { hosts in
            try await Self.move(hosts, StreamOptions(isEncrypted: true))
            let folder = hosts[0].configuration.stateDirectory + "/tls"
            let attributes = try FileManager.default.attributesOfItem(atPath: folder)
            #expect((attributes[.posixPermissions] as? Int) == 0o700)
        }
    }

    @Test func `go over parallel sockets`() async throws {
        try await withHosts("a", "b") { hosts in try await Self.move(hosts, StreamOptions(channels: 2)) }
    }

    @Test func `go encrypted over parallel sockets`() async throws {
        try await withHosts("a", "b") { hosts in try await Self.move(hosts, StreamOptions(isEncrypted: true, channels: 4)) }
    }

    /// Has QEMU on that host show, from now on, a certificate of another name, or of another authority.
    static func disguise(_ host: TestHost, as commonName: String, by authority: CertificateAuthority?) throws {
        let folder = host.configuration.stateDirectory + "/tls"
        let base = "\(host.folder)/disguise"
        if let authority {
            try authority.certificatePEM.write(toFile: base + "-ca.pem", atomically: true, encoding: .utf8)
            let issued = try authority.issue(commonName: commonName, ipAddresses: ["127.0.0.1"], validFor: .seconds(3600))
            try issued.write(certificatePath: base + ".pem", keyPath: base + ".key")
            unlink("\(folder)/ca-cert.pem")
            symlink(base + "-ca.pem", "\(folder)/ca-cert.pem")
        } else {
            let tls = try host.certificate(commonName)
            try FileManager.default.copyItem(atPath: tls.certificate, toPath: base + ".pem")
            try FileManager.default.copyItem(atPath: tls.key, toPath: base + ".key")
        }
        for role in ["server", "client"] {
            for (kind, suffix) in [("cert", "pem"), ("key", "key")] {
                unlink("\(folder)/\(role)-\(kind).pem")
                symlink("\(base).\(suffix)", "\(folder)/\(role)-\(kind).pem")
            }
        }
    }

    /// A peer that is not who it should be: nothing is moved, the source runs on, and the next try without it goes through.
    static func refuse(_ hosts: [TestHost], disks: Int, streams: StreamOptions = StreamOptions(isEncrypted: true)) async throws {
        let server = ServerID.unique()
        let parameters = disks == 0 ? "godwit.disk=none" : ""
        let report = try await boot(TestGuest.description(server, disks: disks, parameters: parameters), on: hosts[0])
        var mover = Mover(server, from: hosts[0], to: hosts[1])
        mover.streams = streams
        let endpoints = try await mover.prepare()
        let silence = try await MigrationFaultTests.longestSilence(report.consoleLog) {
            try await mover.mirror(endpoints)
            if disks == 0 {
                try await mover.outgoing(.mirrored)
                try await mover.sendMemory(endpoints)
            }
            try await eventually("the source gives up", within: .seconds(20)) {
                try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 1000).phase == .failed
            }
        }
        #expect(silence < .seconds(2))
        let failed = try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0)
        #expect(failed.reason?.code == .tlsRefused)
        #expect(failed.reason?.message.contains("127.0.0.1") == true)
        #expect(failed.reason?.message.contains("godwit ca-issue") == true)
        #expect(failed.progress.diskDone == 0)
        #expect(try await hosts[0].orders.guest(server).summary.status == .running)
        try await MigrationFaultTests.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key)).phase == .refused)
        try await hosts[1].orders.discard(server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target))
        #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])

        let again = Mover(server, from: hosts[0], to: hosts[1], attempt: 2, migration: mover.key.migration)
        let others = try await again.prepare()
        try await again.mirror(others)
        try await again.outgoing(.mirrored)
        try await again.sendMemory(others)
        try await again.outgoing(.confirmed)
    }

    @Test func `refuse a target of another authority before a disk is sent`() async throws {
        try await withHosts("a", "b") { hosts in
            try Self.disguise(hosts[1], as: "agent/b", by: CertificateAuthority(name: "foreign", validFor: .seconds(3600)))
            try await Self.refuse(hosts, disks: 1)
        }
    }

    @Test func `refuse a source of another authority before memory is sent`() async throws {
        try await withHosts("a", "b") { hosts in
            try Self.disguise(hosts[0], as: "agent/a", by: CertificateAuthority(name: "foreign", validFor: .seconds(3600)))
            try await Self.refuse(hosts, disks: 0)
        }
    }

    @Test func `refuse a host of this fleet that is not the source`() async throws {
        try await withHosts("a", "b") { hosts in
            try Self.disguise(hosts[0], as: "agent/c", by: nil)
            try await Self.refuse(hosts, disks: 1)
        }
    }

    @Test func `refuse a foreign source on parallel sockets`() async throws {
        try await withHosts("a", "b") { hosts in
            try Self.disguise(hosts[0], as: "agent/a", by: CertificateAuthority(name: "foreign", validFor: .seconds(3600)))
            try await Self.refuse(hosts, disks: 0, streams: StreamOptions(isEncrypted: true, channels: 2))
        }
    }

    @Test func `are called off at once over parallel sockets although the target hangs`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let report = try await boot(TestGuest.description(server), on: hosts[0])
            var mover = Mover(server, from: hosts[0], to: hosts[1])
            mover.streams = StreamOptions(channels: 2)
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints, bandwidth: MigrationFaultTests.slow)
            try await mover.outgoing(.mirrored)
            try await mover.sendMemory(endpoints, bandwidth: MigrationFaultTests.slow)
            try await eventually("memory flows") {
                try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0).progress.memoryTransferred > 1 << 20
            }
            let pid = try #require(try await hosts[1].orders.host().guests.first?.pid)
            kill(pid, SIGSTOP)
            defer { kill(pid, SIGCONT) }
            try await mover.sendMemory(endpoints)
            try await Task.sleep(for: .seconds(1))
            let begin = ContinuousClock.now
            let off = try await hosts[0].orders.abort(server, AbortOrder(epoch: mover.epoch, key: mover.key, targetRefused: false))
            #expect(off.phase == .aborted)
            #expect(begin.duration(to: .now) < .seconds(10))
            #expect(try await hosts[0].orders.guest(server).summary.status == .running)
            try await MigrationFaultTests.expectTicking(report.consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
        }
    }
}

/// What is kept of an attempt that failed.
@Suite(.serialized, .timeLimit(.minutes(3)))
struct KeptTests {
    @Test func `stands aside, is listed, and is in nobody's way`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            let report = try await boot(TestGuest.description(server), on: hosts[0])
            var mover = Mover(server, from: hosts[0], to: hosts[1])
            mover.keepsFailed = true
            let endpoints = try await mover.prepare()
            try await mover.mirror(endpoints)
            try await mover.outgoing(.mirrored)
            let pid = try #require(try await hosts[1].orders.host().guests.first?.pid)
            kill(pid, SIGKILL)
            try await eventually("the source notices", within: .seconds(20)) {
                try await hosts[0].orders.outgoing(server, mover.key, seen: 0, waitMS: 0).phase == .failed
            }
            let why = Reason(.targetLost, "QEMU on b died")
            for _ in 0..<2 {
                #expect(try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key)).phase == .refused)
                try await hosts[1].orders.discard(
                    server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target, reason: why))
            }
            let facts = try await hosts[1].orders.host()
            #expect(facts.guests == [])
            let kept = try #require(facts.kept?.first)
            #expect(facts.kept?.count == 1)
            #expect(kept.id == "\(server)-\(mover.key.migration)-1")
            #expect(kept.reason.code == .targetLost)
            #expect(kept.bytes > 0)
            for folder in kept.folders { #expect(access(folder, F_OK) == 0) }
            #expect(kept.folders.contains { access("\($0)/disk0.qcow2", F_OK) == 0 })
            #expect(kept.folders.contains { access("\($0)/console.log", F_OK) == 0 })
            // It can never run.
            let late = await #expect(throws: AgentProblem.self) {
                try await hosts[1].orders.handOver(server, HandoverOrder(epoch: mover.epoch, key: mover.key, source: "a"))
            }
            #expect(late?.kind == .conflict)

            // The next try goes to the same host at once, and what is kept outlives it and a new agent.
            var again = Mover(server, from: hosts[0], to: hosts[1], attempt: 2, migration: mover.key.migration)
            again.keepsFailed = true
            let others = try await again.prepare()
            try await again.mirror(others)
            try await again.outgoing(.mirrored)
            try await again.sendMemory(others)
            try await again.outgoing(.confirmed)
            try await MigrationFaultTests.expectTicking(
                try await hosts[1].orders.guest(server).consoleLog, boot: TestGuest.tick(report.consoleLog)?["boot"])
            try await hosts[1].stop()
            try await hosts[1].start()
            #expect(try await hosts[1].orders.host().kept?.map(\.id) == [kept.id])
            await #expect(throws: AgentProblem.self) { try await hosts[1].orders.deleteKept("..") }
            for _ in 0..<2 { try await hosts[1].orders.deleteKept(kept.id) }
            #expect(try await hosts[1].orders.host().kept == [])
            for folder in kept.folders { #expect(access(folder, F_OK) != 0) }
            #expect(try await hosts[1].orders.guest(server).summary.status == .running)
        }
    }

    @Test func `is nothing of an attempt that was called off`() async throws {
        try await withHosts("a", "b") { hosts in
            let server = ServerID.unique()
            _ = try await boot(TestGuest.description(server), on: hosts[0])
            var mover = Mover(server, from: hosts[0], to: hosts[1])
            mover.keepsFailed = true
            _ = try await mover.prepare()
            _ = try await hosts[1].orders.refuse(server, RefuseOrder(epoch: mover.epoch, key: mover.key))
            try await hosts[1].orders.discard(
                server, DiscardOrder(epoch: mover.epoch, key: mover.key, end: .target, reason: Reason(.cancelled, "called off")))
            #expect(try await hosts[1].orders.host().kept == [])
            #expect(hosts[1].files(under: hosts[1].configuration.storages[0].path) == [])
        }
    }
}
