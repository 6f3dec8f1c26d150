import AgentAPI
import Fleet
import Testing

@testable import Diagnosis

@Suite struct DiagnosisTests {
    @Test(arguments: [ServerStatus.running, .ready])
    func `a fleet that fits together has no findings`(status: ServerStatus) {
        #expect(Scene(status).findings == [])
    }

    /// What something is at work on, or changed while it was looked at, explains itself.
    @Test func `what is under way is no finding`() {
        var spoilt = Scene()
        spoilt.book { $0.pid = nil }
        #expect(spoilt.kinds == [.serverWithoutGuest])
        var moving = spoilt
        moving.after.migrations = [moving.migration(.switching)]
        #expect(moving.findings == [], "a migration that began meanwhile")
        moving = spoilt
        moving.before.migrations = [moving.migration(.switching)]
        #expect(moving.findings == [], "one that ended meanwhile")
        for status in ServerStatus.allCases where ![.ready, .running].contains(status) {
            moving = spoilt
            moving.server { $0.status = status }
            #expect(moving.findings == [], "\(status)")
        }
        let changes: [(inout Server) -> Void] = [
            { $0.epoch = Epoch(6) }, { $0.status = .ready }, { $0.host = Scene.other }, { $0.isPaused = true },
        ]
        for change in changes {
            moving = spoilt
            change(&moving.after.servers[0])
            #expect(!moving.kinds.contains(.serverWithoutGuest))
        }
        moving = spoilt
        moving.after.servers = []
        #expect(moving.findings == [], "deleted meanwhile")
        moving = spoilt
        moving.before.servers = []
        #expect(moving.findings == [], "created meanwhile")
    }

    @Test func `a second look must find the same`() {
        var first = Scene()
        first.book { $0.pid = nil }
        #expect(Diagnosis.confirmed(first.findings, by: Scene().findings) == [])
        #expect(Diagnosis.confirmed([], by: first.findings) == [])
        #expect(Diagnosis.confirmed(first.findings, by: first.findings).map(\.kind) == [.serverWithoutGuest])
        var other = Scene()
        other.silent[Scene.other] = "no route"
        #expect(Diagnosis.confirmed(first.findings, by: other.findings) == [])
    }

    // MARK: guests

    @Test func `a guest that the store does not know`() throws {
        var scene = Scene()
        scene.inventories[Scene.other]?.guests = [
            GuestBook(server: "stranger", epoch: Epoch(1), tenure: .home, pid: 7, runState: "running")
        ]
        scene.inventories[Scene.other]?.entries = [Scene.entry("stranger", on: "host2")]
        var found = try #require(scene.findings.first)
        #expect(scene.findings.count == 1 && found.kind == .guestUnknown && found.severity == .critical && found.host == Scene.other)
        #expect(found.fix == nil, "nobody ends a guest that may be somebody's")
        scene.inventories[Scene.other]?.guests[0].pid = nil
        found = try #require(scene.findings.first)
        #expect(found.kind == .guestUnknown && found.severity == .warning)
        scene.inventories[Scene.other]?.guests[0].tenure = .none
        scene.inventories[Scene.other]?.entries = []
        #expect(scene.findings == [], "an epoch alone is kept for ever")
    }

    @Test func `a QEMU that no record counts as its guest`() throws {
        var scene = Scene()
        scene.inventories[Scene.home]?.strays = [StrayProcess(pid: 9, server: Scene.web)]
        let found = try #require(scene.findings.first)
        #expect(found.kind == .guestUnknown && found.severity == .critical && found.fix == nil && found.message.contains("pid 9"))
        scene.book { $0.obstacle = "its monitor does not answer" }
        #expect(scene.kinds == [.hostUnclear])
    }

    @Test func `a running server without a QEMU gets its status set right`() throws {
        var scene = Scene()
        scene.book { $0.pid = nil }
        let found = try #require(scene.findings.first)
        #expect(found.severity == .critical)
        guard case .settle(Scene.web, Epoch(5), .ready, false, let note) = found.fix else { throw Unexpected(found) }
        #expect(note?.code == .guestStopped)
        scene.book {
            $0.pid = nil
            $0.endedByGuard = true
        }
        #expect(scene.findings == [], "it is started again by itself")
    }

    @Test func `a server whose agent does not have it`() throws {
        for status in [ServerStatus.running, .ready] {
            for tenure in [GuestBook.Tenure.none, .awaited, .handedOver] {
                var scene = Scene(status)
                scene.book {
                    $0.tenure = tenure
                    $0.pid = nil
                }
                let found = try #require(scene.findings.first)
                #expect(scene.findings.count == 1 && found.kind == .serverWithoutGuest && found.severity == .critical && found.fix == nil)
            }
            var scene = Scene(status)
            scene.inventories[Scene.home]?.guests = []
            #expect(scene.kinds == [.serverWithoutGuest], "its disk is no leftover: it may be the only copy")
        }
    }

    @Test func `a server that runs against the store's word`() throws {
        var scene = Scene(.ready)
        scene.book { _ in }
        var found = try #require(scene.findings.first)
        #expect(
            found.kind == .serverNotExpectedRunning
                && found.fix == .settle(Scene.web, epoch: Epoch(5), .running, isPaused: false, note: nil))
        scene.book { $0.runState = "paused" }
        found = try #require(scene.findings.first)
        #expect(found.fix == .settle(Scene.web, epoch: Epoch(5), .running, isPaused: true, note: nil))
        scene.book { $0.runState = nil }
        found = try #require(scene.findings.first)
        #expect(found.kind == .serverNotExpectedRunning && found.fix == nil, "a monitor that says nothing proves nothing")
    }

    @Test func `a guest that ended by itself is told of once the store says so`() {
        var scene = Scene(.ready)
        scene.book {
            $0.pid = nil
            $0.runState = nil
        }
        #expect(scene.findings == [], "it was never ended without an order")
        scene.server { $0.note = Reason(.guestStopped, "ended") }
        #expect(scene.findings.map(\.kind) == [.serverWithoutGuest] && scene.findings.first?.severity == .note)
        scene.book {
            $0.pid = nil
            $0.isWanted = false
        }
        #expect(scene.findings == [])
    }

    @Test func `a guest that stands still, or runs, and the store says otherwise`() throws {
        var scene = Scene()
        scene.book { $0.runState = "paused" }
        #expect(scene.findings.first?.fix == .settle(Scene.web, epoch: Epoch(5), .running, isPaused: true, note: nil))
        scene.server { $0.isPaused = true }
        #expect(scene.findings == [])
        scene.book { _ in }
        #expect(scene.kinds == [.pauseDiffers])
        scene.book { $0.runState = "io-error" }
        #expect(scene.findings == [], "no order of anybody's")
    }

    @Test func `a guest on a host that its server is not on`() throws {
        var scene = Scene(.ready)
        scene.book(Scene.other) {
            $0.tenure = .home
            $0.pid = 200
            $0.runState = "running"
        }
        var found = try #require(scene.findings.first)
        #expect(scene.findings.count == 1 && found.kind == .guestElsewhere && found.severity == .critical && found.fix == nil)
        scene = Scene(.running)
        scene.book(Scene.other) {
            $0.tenure = .home
            $0.pid = 200
            $0.runState = "running"
        }
        #expect(scene.kinds == [.guestElsewhere, .serverInTwoPlaces])
        found = try #require(scene.findings.last)
        #expect(found.severity == .critical && found.message.contains("host1 and host2"))
        scene.after.migrations = [scene.migration(.switching)]
        #expect(scene.findings == [])
    }

    @Test func `a source that was handed over is expected until its cleanup, and cleaned where there is none`() throws {
        var scene = Scene()
        scene.book(Scene.other) {
            $0.tenure = .handedOver
            $0.pid = 200
            $0.runState = "postmigrate"
            $0.ends = [GuestBook.End(key: Scene.key, end: .source, isGivenUp: true)]
        }
        scene.inventories[Scene.other]?.entries = [Scene.entry(Scene.web.value, on: "host2")]
        let cleanup = Cleanup(
            id: "c", kind: .source, migration: "m1", server: Scene.web, host: Scene.other, attempt: 1, epoch: Epoch(4), dueAt: Scene.now)
        var expected = scene
        expected.store { $0.cleanups = [cleanup] }
        #expect(expected.findings == [])
        #expect(scene.findings.first?.fix == nil, "of a migration that nobody knows")
        scene.after.finished["m1"] = scene.migration(.ready, target: Scene.home, source: Scene.other)
        let fix = Finding.Fix.clean(Scene.web, on: Scene.other, "m1", attempt: 1, .source, epoch: Epoch(5))
        #expect(scene.findings.map(\.fix) == [fix])
        scene.book(Scene.other) {
            $0.tenure = .handedOver
            $0.ends = [GuestBook.End(key: Scene.key, end: .source, isGivenUp: false)]
        }
        #expect(scene.findings.map(\.fix) == [nil], "what is not given up is left alone")
    }

    @Test func `what a failed attempt left on its target is cleaned`() {
        var scene = Scene()
        scene.book(Scene.other) {
            $0.tenure = .awaited
            $0.ends = [GuestBook.End(key: Scene.key, end: .target, isGivenUp: false)]
        }
        scene.after.finished["m1"] = scene.migration(.failed)
        let fix = Finding.Fix.clean(Scene.web, on: Scene.other, "m1", attempt: 1, .target, epoch: Epoch(5))
        #expect(scene.findings.map(\.fix) == [fix])
        scene.after.finished["m1"]?.server = "another"
        #expect(scene.findings.map(\.fix) == [nil])
    }

    @Test func `a disk that is not there`() {
        var scene = Scene()
        scene.book { $0.missingDisks = ["disk0"] }
        #expect(scene.kinds == [.diskMissing])
    }

    // MARK: files

    @Test func `a file that belongs to nobody`() throws {
        var scene = Scene()
        scene.inventories[Scene.other]?.entries = [
            Scene.entry("stray.qcow2", on: "host2"), Scene.entry(".kept-x", on: "host2", isKept: true),
        ]
        let found = try #require(scene.findings.first)
        #expect(scene.findings.count == 1 && found.kind == .leftoverDisk && found.fix == nil && found.subject == "/host2/stray.qcow2")
        scene.inventories[Scene.other]?.entries = [Scene.entry(".kept-y", on: "host2")]
        #expect(scene.kinds == [.leftoverDisk])
        scene.inventories[Scene.other]?.troubles = ["what is kept cannot be listed"]
        #expect(scene.kinds == [.hostUnclear])
    }

    @Test func `what lies on a shared storage is told once, and not where any record has it`() {
        var scene = Scene()
        let entries = [Scene.entry("x", on: "", kind: .shared), Scene.entry(Scene.web.value, on: "", kind: .shared)]
        for host in [Scene.home, Scene.other] { scene.inventories[host]?.entries = entries }
        #expect(scene.kinds == [.leftoverDisk])
        scene.inventories[Scene.other]?.guests = [GuestBook(server: "x", epoch: Epoch(1), tenure: .home)]
        #expect(scene.kinds == [.guestUnknown])
    }

    @Test func `files of a server that is whole elsewhere are removed, and never an only copy`() throws {
        var scene = Scene()
        scene.inventories[Scene.other]?.entries = [Scene.entry(Scene.web.value, on: "host2")]
        #expect(scene.findings.map(\.fix) == [nil], "without a record of the other host nothing proves that they are nobody's")
        scene.book(Scene.other) { _ in }
        let fix = Finding.Fix.clear(Scene.web, on: Scene.other, storage: "local", epoch: Epoch(5))
        #expect(scene.findings.map(\.fix) == [fix])
        var unsure = scene
        unsure.book { $0.missingDisks = ["disk0"] }
        #expect(unsure.findings.allSatisfy { $0.fix == nil })
        unsure = scene
        unsure.silent[Scene.home] = "no route"
        unsure.inventories[Scene.home] = nil
        #expect(unsure.findings.allSatisfy { $0.fix == nil }, "where it should be does not answer")
        unsure = scene
        unsure.inventories[Scene.other]?.guests[0].hasCopies = true
        #expect(unsure.findings == [], "copies for the next attempt")
    }

    // MARK: work, hosts, certificates

    @Test func `a lease that ended long ago`() {
        var scene = Scene()
        scene.store {
            $0.migrations = [Scene().migration(.syncingDisk)]
            $0.leases = ["m1": StoreBooks.Lease(owner: "w1", until: Scene.now + .seconds(-50))]
        }
        #expect(scene.findings == [])
        scene.store { $0.leases = ["m1": StoreBooks.Lease(owner: "w1", until: Scene.now + .seconds(-70))] }
        #expect(scene.kinds == [.staleLease])
        scene.after.leases = ["m1": StoreBooks.Lease(owner: "w2", until: Scene.now + .seconds(15))]
        #expect(scene.findings == [])
    }

    @Test func `a migration that has awaited something for long`() {
        var scene = Scene()
        var migration = scene.migration(.switching)
        migration.awaiting = "host2 does not answer."
        scene.store {
            $0.migrations = [migration]
            $0.lastChanges = ["m1": Scene.now + .seconds(-500)]
        }
        #expect(scene.findings == [])
        scene.store { $0.lastChanges = ["m1": Scene.now + .seconds(-700)] }
        #expect(scene.kinds == [.migrationAwaiting])
        #expect(scene.findings.first?.message.contains("host2 does not answer") == true)
    }

    @Test func `room that a finished migration still holds`() {
        var scene = Scene()
        scene.after.leaked = ["m1": Scene.other]
        #expect(scene.findings == [], "seen once")
        scene.before.leaked = ["m1": Scene.other]
        #expect(scene.findings.map(\.fix) == [.release("m1")])
    }

    @Test func `cleanups that nobody takes up, or that fail and fail`() {
        func scene(due seconds: Int, tries: Int) -> Scene {
            var scene = Scene()
            scene.store {
                $0.cleanups = [
                    Cleanup(
                        id: "c", kind: .target, migration: "m1", server: Scene.web, host: Scene.other, attempt: 1, epoch: Epoch(4),
                        tries: tries, dueAt: Scene.now + .seconds(seconds), lastError: "it is in use")
                ]
            }
            return scene
        }
        #expect(scene(due: -200, tries: 7).findings == [])
        #expect(scene(due: -400, tries: 0).findings.first?.message.contains("no worker takes it up") == true)
        #expect(scene(due: 60, tries: 8).findings.first?.message.contains("it is in use") == true)
        var away = scene(due: 60, tries: 8)
        away.silent[Scene.other] = "no route"
        #expect(away.findings.first { $0.kind == .cleanupOverdue }?.severity == .note)
    }

    @Test func `a host that gives no answer`() {
        var scene = Scene()
        scene.silent[Scene.home] = "no route"
        scene.inventories[Scene.home] = nil
        #expect(scene.kinds == [.hostSilent] && scene.findings.first?.severity == .critical)
        scene = Scene()
        scene.silent[Scene.other] = "no route"
        #expect(scene.kinds == [.hostSilent] && scene.findings.first?.severity == .warning)
    }

    @Test func `a host's clock`() {
        var scene = Scene()
        for (skew, isOff) in [(5000, false), (5001, true), (-5001, true), (-3_600_000, true)] as [(Int64, Bool)] {
            scene.skewMS[Scene.home] = skew
            #expect(scene.kinds == (isOff ? [.clockOff] : []))
        }
        let now = Scene.now
        #expect(Look.skewMS(of: now, between: now, and: now) == 0)
        #expect(Look.skewMS(of: now + .seconds(1), between: now, and: now + .seconds(2)) == 0)
        #expect(Look.skewMS(of: now + .seconds(9), between: now, and: now + .seconds(2)) == 7000)
        #expect(Look.skewMS(of: now + .seconds(-9), between: now, and: now + .seconds(2)) == -9000)
    }

    @Test func `certificates that end soon, or have ended`() {
        func end(_ kind: CertificateEnd.Kind, days: Int) -> CertificateEnd {
            CertificateEnd(kind: kind, path: "/\(kind).pem", end: Scene.now + .seconds(days * 86_400))
        }
        var scene = Scene()
        scene.certificates = [end(.own, days: 31), end(.authority, days: 400)]
        #expect(scene.findings == [])
        scene.certificates = [end(.own, days: 29), end(.authority, days: -1)]
        #expect(scene.kinds == [.certificateEnded, .certificateEnding])
        #expect(scene.findings.map(\.severity) == [.critical, .warning])
        for host in [Scene.home, Scene.other] { scene.inventories[host]?.certificates = [end(.authority, days: -1), end(.own, days: 3)] }
        #expect(
            scene.kinds == [.certificateEnded, .certificateEnding, .certificateEnding, .certificateEnding], "one authority is told once")
    }

    @Test func `what could not be looked at is told, and nothing concluded from it`() {
        var scene = Scene()
        scene.inventories[Scene.home]?.unseen = ["nfs": "it does not answer"]
        scene.inventories[Scene.home]?.apiVersion = AgentVersion.current - 1
        #expect(scene.kinds == [.hostUnclear, .versionBehind])
    }
}

private struct Unexpected: Error {
    let finding: Finding
    init(_ finding: Finding) { self.finding = finding }
}
