import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    @Suite(.serialized)
    struct DevTests {
        @Test func `godwit dev starts again from its state, with the guests it kept`() async throws {
            let work = URL(filePath: "/tmp/godwit-e2e-\(UUID().uuidString.prefix(8).lowercased())")
            try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: work) }
            let (source, pid) = try await DevFleet.start(work: work, options: ["--keep-guests"], expectLeftovers: true) { fleet in
                let source = try await fleet.startGuest()
                return (source, try #require(try fleet.guests(of: source.id)["host1"]))
            }
            try await DevFleet.start(work: work) { fleet in
                let again = try await fleet.server("vm1")
                #expect(again.id == source.id)
                #expect(again.status == .running)
                try #expect(fleet.guests(of: source.id) == ["host1": pid], "the same QEMU, found again")
                let migration = try await fleet.migrate("vm1")
                try await #expect(fleet.finish(migration.id).state == .ready)
                try await fleet.proveWhole("vm1", source: source)
            }
            try await DevFleet.start(work: work) { fleet in
                try await #expect(fleet.server("vm1").status == .ready)
                try await #expect(fleet.server("vm1").host.name == "host2")
                try await #expect(fleet.decode([MigrationView].self, "migration-list").count == 1)
            }
        }
    }
}
