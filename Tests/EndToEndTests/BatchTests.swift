import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Many servers as one batch.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct BatchTests {
        private func batch(_ fleet: NetFleet, _ name: String) async throws -> BatchView {
            try await fleet.decode(BatchView.self, "batch-show", name)
        }

        private func migrations(_ fleet: NetFleet, of batch: String) async throws -> [MigrationView] {
            try await fleet.decode([MigrationView].self, "migration-list", "--batch", batch, "--order", "asc")
        }

        /// How many were under way at the same time at most, by the history.
        private func mostAtOnce(_ fleet: NetFleet, of batch: String) async throws -> Int {
            struct Story: Decodable { let history: [TransitionView] }
            var changes: [(at: Int64, by: Int)] = []
            for migration in try await migrations(fleet, of: batch) {
                let history = try await fleet.decode(Story.self, "migration-show", migration.id).history
                let begun = try #require(history.first { $0.to == .scheduling })
                let ended = try #require(history.last { $0.to.isFinished })
                changes += [(begun.sequence, 1), (ended.sequence, -1)]
            }
            var (level, most) = (0, 0)
            for change in changes.sorted(by: { $0.at < $1.at }) {
                level += change.by
                most = max(most, level)
            }
            return most
        }

        @Test func `running and stopped servers, paused, resumed, one that fails and is tried again`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(name: "off", diskDataMB: 8))
                let web = try await fleet.startGuest(GuestRecipe(name: "web", diskDataMB: 8))
                _ = try await fleet.createGuest(GuestRecipe(name: "kept", diskDataMB: 8))
                _ = try await fleet.createGuest(GuestRecipe(name: "last", diskDataMB: 8))
                // Where all are to go stands a server that one of them must not meet.
                _ = try await fleet.createGuest(GuestRecipe(name: "other", diskDataMB: 8, host: "host2"))
                try await fleet.command("server-group-create", "apart", "--policy", "apart")
                for name in ["kept", "other"] { try await fleet.command("server-group-add-server", "apart", name) }

                let list = fleet.work.appending(path: "list")
                try Data("# tonight\noff\nweb  # runs\nnosuch\nkept\nlast\n".utf8).write(to: list)
                let refused = try await fleet.godwit("batch-migrate", list.path, "--prefer-host", "host2")
                print("outside: batch-migrate with a bad line: exit \(refused.status)\n\(refused.output)\(refused.error)")
                #expect(refused.status == 1 && refused.output.contains("| 4    | nosuch | not-found"), "\(refused.output)")
                #expect(try await fleet.decode([BatchView].self, "batch-list").isEmpty)

                let options = ["--prefer-host", "host2", "--max-parallel", "1", "--skip-invalid", "--name", "night"]
                let plan = try await fleet.godwit(["batch-migrate", list.path, "--dry-run"] + options)
                print("outside: batch-migrate --dry-run: exit \(plan.status)\n\(plan.output)\(plan.error)")
                #expect(
                    plan.status == 1 && plan.output.contains("group") && plan.output.contains("| 3     | 3    | last"), "\(plan.output)")

                let accepted = try await fleet.godwit(["batch-migrate", list.path] + options)
                print("outside: batch-migrate: exit \(accepted.status)\n\(accepted.output)\(accepted.error)")
                #expect(accepted.status == 0, "\(accepted.error)")
                try await eventually("the first is under way", within: .seconds(30)) { try await batch(fleet, "night").running == 1 }
                try await fleet.command("batch-pause", "night")
                try await eventually("what was under way is over", within: .seconds(120)) { try await batch(fleet, "night").running == 0 }
                let paused = try await batch(fleet, "night")
                let begun = try await migrations(fleet, of: "night").count { $0.attempt > 0 }
                // The first may have been through, and the second begun, before the pause was there.
                #expect((1...2).contains(begun))
                #expect(paused.status == .paused && paused.ready == begun && paused.states?["pending"] == 4 - begun, "\(paused)")
                try await fleet.command("batch-resume", "night")
                let watched = try await fleet.godwit("batch-watch", "night", deadline: .seconds(300))
                print("outside: batch-watch: exit \(watched.status)\n\(watched.output)\(watched.error)")
                #expect(watched.status == 1 && watched.error.contains("1 of 4 failed"), "\(watched.error)")
                let over = try await batch(fleet, "night")
                #expect((over.status, over.ready, over.failed) == (.done, 3, 1))
                #expect(over.reasons == ["no-host": 1])
                for name in ["off", "web", "last"] { #expect(try await fleet.server(name).host.name == "host2") }
                #expect(try await fleet.server("kept").host.name == "host1")
                #expect(try await fleet.server("web").status == .running)
                try await #expect(mostAtOnce(fleet, of: "night") == 1)

                try await fleet.command("server-group-delete", "apart")
                let retried = try await fleet.godwit("batch-retry", "night", "--wait", deadline: .seconds(200))
                print("outside: batch-retry: exit \(retried.status)\n\(retried.output)\(retried.error)")
                #expect(retried.status == 0, "\(retried.error)")
                #expect(try await fleet.server("kept").host.name == "host2")
                let nothing = try await fleet.godwit("batch-retry", "night")
                #expect(nothing.status == 1 && nothing.error.contains("nothing to retry"), "\(nothing.error)")
                try await fleet.proveWhole("web", source: web)
            }
        }

        @Test func `a host is emptied when its maintenance begins, and what cannot leave is told`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(name: "off", diskDataMB: 8))
                let web = try await fleet.startGuest(GuestRecipe(name: "web", diskDataMB: 8))
                _ = try await fleet.createGuest(GuestRecipe(name: "kept", diskDataMB: 8))
                _ = try await fleet.createGuest(GuestRecipe(name: "two", diskDataMB: 8, host: "host2"))
                _ = try await fleet.createGuest(GuestRecipe(name: "three", diskDataMB: 8, host: "host3"))
                try await fleet.command("server-group-create", "apart", "--policy", "apart")
                for name in ["kept", "two", "three"] { try await fleet.command("server-group-add-server", "apart", name) }
                let drained = try await fleet.godwit("host-maintenance", "host1", "--wait", deadline: .seconds(200))
                print("outside: host-maintenance --wait: exit \(drained.status)\n\(drained.output)\(drained.error)")
                #expect(drained.status == 1 && drained.error.contains("1 of 3 failed"), "\(drained.error)")
                for name in ["off", "web"] { #expect(try await fleet.server(name).host.name != "host1") }
                #expect(try await fleet.server("web").status == .running)
                #expect(try await fleet.server("kept").host.name == "host1")
                try await fleet.proveWhole("web", source: web)
                try await fleet.command("server-group-delete", "apart")
                let rest = try await fleet.godwit("host-maintenance", "host1", "--wait", deadline: .seconds(200))
                #expect(rest.status == 0 && rest.output.contains("1 of 1 servers gone"), "\(rest.output)\(rest.error)")
                #expect(try await fleet.server("kept").host.name != "host1")
                try await fleet.command("host-unmaintenance", "host1")
            }
        }
    }
}
