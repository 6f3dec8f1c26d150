import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// Bad input: one clear sentence, the right exit code, nothing changed.
    @Suite(.serialized)
    struct RefusalTests {
        @Test func `every kind of bad input is refused with a sentence and changes nothing`() async throws {
            try await DevFleet.run { fleet in
                let created = try await fleet.godwit("server-create", "vm1", "--memory-mb", "64", "--disk", "size=64M")
                #expect(created.status == 0, "\(created.error)")
                let before = try await snapshot(fleet)

                let broken = fleet.work.appending(path: "broken.yaml")
                try Data("name: vm2\n  memory_mb: [\n".utf8).write(to: broken)
                let misspelt = fleet.work.appending(path: "misspelt.yaml")
                try Data("name: vm2\nmemroy_mb: 64\n".utf8).write(to: misspelt)
                let noImage = fleet.work.appending(path: "letter.txt")
                try Data("Dear host, this is no disk image.\n".utf8).write(to: noImage)

                let cases: [(arguments: [String], status: Int32, says: String)] = [
                    (["server-live-migrate", "nosuch"], 1, "nosuch"),
                    (["server-show", "nosuch"], 1, "nosuch"),
                    (["server-start", "nosuch"], 1, "nosuch"),
                    (["server-delete", "nosuch"], 1, "nosuch"),
                    (["server-live-migrate", "vm1"], 1, "ready"),
                    (["server-live-migrate", "vm1", "--prefer-host", "nohost"], 1, "nohost"),
                    (["host-show", "nohost"], 1, "nohost"),
                    (["migration-show", "nosuch"], 1, "nosuch"),
                    (["server-live-migrate", "vm1", "--max-bandwidth-mb", "0"], 2, "max-bandwidth-mb"),
                    (["server-live-migrate", "vm1", "--max-bandwidth-mb", "-5"], 2, "max-bandwidth-mb"),
                    (["server-live-migrate", "--max-bandwidth-mb", "--quickly-finish", "vm1"], 2, "max-bandwidth-mb"),
                    (["server-live-migrate"], 2, "id"),
                    (["server-create", "-f", broken.path], 2, "broken.yaml"),
                    (["server-create", "-f", misspelt.path], 2, "memroy_mb"),
                    (["server-create", "vm2", "--memory-mb", "64", "--disk", "image=\(noImage.path)"], 1, "letter.txt"),
                    (["server-create", "vm2", "--memory-mb", "0"], 2, "memory"),
                    (["server-create", "vm1", "--memory-mb", "64"], 1, "vm1"),
                    (["server-create", "vm2", "--memory-mb", "64", "--nic", "network=nonet"], 1, "nonet"),
                    (["no-such-command"], 2, "no-such-command"),
                ]
                for bad in cases {
                    let answer = try await fleet.godwit(bad.arguments)
                    #expect(answer.status == bad.status, "\(bad.arguments): \(answer.error)")
                    #expect(answer.error.lowercased().contains(bad.says), "\(bad.arguments) says: \(answer.error)")
                    #expect(answer.output.isEmpty, "\(bad.arguments) prints: \(answer.output)")
                }
                let changes = Set(try await snapshot(fleet)).symmetricDifference(before)
                #expect(changes.isEmpty, "changed: \(changes)")
            }
        }

        /// What the store and the hosts hold, as far as a refusal could have changed it.
        private func snapshot(_ fleet: DevFleet) async throws -> [String] {
            let servers = try await fleet.decode([ServerView].self, "server-list").map { "\($0.id) \($0.name) \($0.status) \($0.epoch)" }
            let migrations = try await fleet.decode([MigrationView].self, "migration-list").map(\.id)
            let files = FileManager.default.enumerator(atPath: fleet.state.path)?.compactMap { $0 as? String } ?? []
            let held = files.filter { file in
                if file.contains("/disk") || file.hasSuffix(".pid") { return true }
                // An agent keeps the epoch of every server it ever heard of, as it must; a guest is one that has a description.
                guard file.hasSuffix("guest.json"), let record = FileManager.default.contents(atPath: "\(fleet.state.path)/\(file)") else {
                    return false
                }
                return String(decoding: record, as: UTF8.self).contains("\"description\"")
            }
            return servers + migrations + held.sorted()
        }
    }
}
