import Fleet
import Foundation
import Testing

/// What the words look like on the wire and in the store: these strings are kept for ever.
@Suite struct WireFormTests {
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func back<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
        try JSONDecoder().decode(type, from: Data(text.utf8))
    }

    @Test func `the seven states are spelt as climc's users read them`() {
        #expect(
            MigrationState.allCases.map(\.rawValue)
                == ["pending", "scheduling", "syncing-disk", "syncing-memory", "switching", "ready", "failed"])
        #expect(MigrationState.allCases.filter(\.isFinished) == [.ready, .failed])
    }

    @Test func `modes, directions and journal statuses are spelt as they are kept`() {
        #expect(Mode.allCases.map(\.rawValue) == ["cold", "live", "rescue"])
        #expect(Direction.allCases.map(\.rawValue) == ["forward", "rollback"])
        let statuses: [JournalEntry.Status] = [.started, .done, .compensated, .deferred]
        #expect(statuses.map(\.rawValue) == ["started", "done", "compensated", "deferred"])
        let remedies: [Fault.Remedy] = [.sameTarget, .otherTarget, .none]
        #expect(remedies.map(\.rawValue) == ["same-target", "other-target", "none"])
    }

    @Test func `a server's status is climc's word for it`() {
        #expect(
            ServerStatus.allCases.map(\.rawValue)
                == [
                    "deploying", "ready", "starting", "running", "stopping", "deleting", "start_migrate", "migrating", "live_migrating",
                ])
        #expect(ServerStatus.allCases.filter(\.isOperation) == [.deploying, .starting, .stopping, .deleting])
    }

    @Test func `a guest's hardware is spelt in QEMU's words`() {
        #expect(Accelerator.allCases.map(\.rawValue) == ["auto", "kvm", "tcg"])
        #expect(Firmware.allCases.map(\.rawValue) == ["bios", "uefi"])
        #expect(DiskFormat.allCases.map(\.rawValue) == ["qcow2", "raw"])
        #expect(DiskBus.allCases.map(\.rawValue) == ["virtio-blk", "virtio-scsi"])
        #expect(GuestSummary.Status.handedOver.rawValue == "handed-over")
    }

    @Test func `identities, epochs, moments and codes are plain values`() throws {
        #expect(try Self.json(HostID("h1")) == #""h1""#)
        #expect(try Self.json(Epoch(12)) == "12")
        #expect(try Self.json(Timestamp(milliseconds: 1_700_000_000_123)) == "1700000000123")
        #expect(try Self.json(Reason.Code.didNotConverge) == #""did-not-converge""#)
        #expect(try Self.back(ServerID.self, #""s9""#) == "s9")
        #expect(try Self.back(Epoch.self, "3") == Epoch(3))
        #expect(try Self.back(Timestamp.self, "5").milliseconds == 5)
        #expect(try Self.back(Reason.Code.self, #""made-up-later""#).value == "made-up-later")
    }

    @Test func `a moment is written in RFC 3339 with milliseconds`() {
        #expect(Timestamp(milliseconds: 1_700_000_000_123).description == "2023-11-14T22:13:20.123Z")
        #expect(Timestamp(milliseconds: 1_700_000_000_000).description == "2023-11-14T22:13:20.000Z")
        #expect(Timestamp(milliseconds: -1).description == "1969-12-31T23:59:59.999Z")
        #expect(Timestamp(milliseconds: 0) + .milliseconds(1500) == Timestamp(milliseconds: 1500))
        #expect(Timestamp(milliseconds: 1500) - Timestamp(milliseconds: 2000) == -500)
        #expect(Duration.seconds(2).inMilliseconds == 2000)
        #expect(Duration.microseconds(1999).inMilliseconds == 1)
    }

    @Test func `a reason is a code and a sentence`() throws {
        let reason = Reason(.diskFull, "local on host2 is full.")
        #expect(try Self.json(reason) == #"{"code":"disk-full","message":"local on host2 is full."}"#)
        #expect(reason.description == "disk-full: local on host2 is full.")
    }

    @Test func `a migration survives the wire`() throws {
        var migration = exampleMigration()
        migration.target = "h2"
        migration.excluded = ["h3": Reason(.targetLost, "gone")]
        migration.reason = Reason(.stalled, "no byte")
        migration.remedy = .otherTarget
        migration.progress = Progress(diskTotal: 10, diskDone: 4, etaMS: 1200)
        migration.blackout = Blackout(
            lastPassUS: 1, diskDrainUS: 2, deviceStateUS: 3, handoverUS: 4, resumeUS: 5, totalUS: 20)
        #expect(try Self.back(Migration.self, Self.json(migration)) == migration)
    }

    @Test func `an identity given out twice differs and is a UUID in lower case`() {
        let one = MigrationID.unique()
        #expect(one != MigrationID.unique())
        #expect(UUID(uuidString: one.value) != nil && one.value == one.value.lowercased())
    }
}
