import Client
import Fleet
import Foundation
import Testing

extension EndToEnd {
    /// The documented commands, top to bottom, by a link named `climc`, as a person would type them.
    @Suite(.serialized, .netFleet(hosts: 3))
    struct SeedTests {
        /// Runs a line of the page in a shell, where `climc` is a link to `godwit`.
        private func type(_ fleet: NetFleet, _ line: String) async throws -> Answer {
            let folder = fleet.work.appending(path: "bin")
            if !FileManager.default.fileExists(atPath: folder.path) {
                try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: false)
                try FileManager.default.createSymbolicLink(
                    at: folder.appending(path: "climc"), withDestinationURL: fleet.programs.appending(path: "godwit"))
            }
            let answer = try await execute(
                fleet.commandPrefix + ["bash", "-c", "PATH=\(folder.path):$PATH; \(line)"], environment: fleet.environment,
                deadline: .seconds(120))
            print("$ \(line)\n\(answer.output)\(answer.error)")
            return answer
        }

        private func done(_ fleet: NetFleet, _ line: String, sourceLocation: SourceLocation = #_sourceLocation) async throws -> String {
            let answer = try await type(fleet, line)
            #expect(answer.status == 0, "\(line): \(answer.error)", sourceLocation: sourceLocation)
            return answer.output
        }

        /// The word under a column's head in the only row of a table.
        private func cell(_ table: String, _ column: String) -> String? {
            let rows = table.split(separator: "\n").filter { $0.hasPrefix("|") }.map { row in
                row.split(separator: "|", omittingEmptySubsequences: false).map { $0.trimmingCharacters(in: .whitespaces) }
            }
            guard rows.count >= 2, let index = rows[0].firstIndex(where: { $0.lowercased() == column.lowercased() }) else { return nil }
            return rows[1].indices.contains(index) ? rows[1][index] : nil
        }

        /// Lists the server until it is in a status, having seen which ones it passed.
        private func until(_ fleet: NetFleet, _ status: String) async throws -> Set<String> {
            var seen: Set<String> = []
            try await eventually("vm1 is \(status)", within: .seconds(120)) {
                let answer = try await fleet.godwit("server-list", "--search", "vm1", "--scope", "system")
                let now = cell(answer.output, "Status") ?? ""
                seen.insert(now)
                return now == status
            }
            return seen
        }

        @Test func `cold migration`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.startGuest(GuestRecipe(diskDataMB: 48))
                try await fleet.stop("vm1")
                let help = try await done(fleet, "climc server-migrate --help")
                for word in ["server-migrate", "--auto-start", "--rescue-mode", "--prefer-host", "<ID>"] { #expect(help.contains(word)) }

                let first = try await done(fleet, "climc server-list --search vm1 --details --scope system")
                #expect(first.contains("host1"))
                #expect(first.contains("***  Total: 1 Pages: 1 Limit: 20 Offset: 0 Page: 1  ***"))
                _ = try await done(fleet, "climc server-migrate vm1")
                let seen = try await until(fleet, "ready")
                #expect(seen.isSubset(of: ["start_migrate", "migrating", "ready"]), "\(seen)")
                let second = try await done(fleet, "climc server-list --search vm1 --details --scope system")
                #expect(!second.contains("host1") && second.contains("ready"))

                let hosts = try await done(fleet, "climc host-list --hypervisor kvm")
                for host in fleet.hostNames { #expect(hosts.contains(host)) }
                _ = try await done(fleet, "climc server-migrate --prefer-host host1 vm1")
                _ = try await until(fleet, "ready")
                try await #expect(fleet.server("vm1").host.name == "host1")

                _ = try await done(fleet, "climc server-migrate --auto-start vm1")
                _ = try await until(fleet, "running")
                try await #expect(fleet.server("vm1").host.name != "host1")
                _ = try await fleet.ticking("vm1")
                try await fleet.stop("vm1")
                _ = try await done(fleet, "climc server-migrate --auto-start --prefer-host host1 vm1")
                _ = try await until(fleet, "running")
                try await #expect(fleet.server("vm1").host.name == "host1")
            }
        }

        @Test func `hot migration`() async throws {
            try await NetFleet.test { fleet in
                let source = try await fleet.startGuest(GuestRecipe(dirtyMBs: 2, diskDataMB: 24))
                _ = try await done(fleet, "cat /proc/cpuinfo | grep -e 'model name' -e 'microcode' | sort | uniq")
                let help = try await done(fleet, "climc server-live-migrate --help")
                for word in [
                    "--skip-cpu-check", "--skip-kernel-check", "--enable-tls", "--quickly-finish", "--max-bandwidth-mb",
                    "--keep-dest-guest-on-failed", "--help", "--prefer-host", "<ID>",
                ] { #expect(help.contains(word), "\(word)") }
                let heard = try await fleet.watched("vm1", "the page's hot migrations") {
                    let lines = [
                        "climc server-live-migrate vm1",
                        "climc server-live-migrate --skip-cpu-check vm1",
                        "climc server-live-migrate \\\n--prefer-host host1 \\\n--skip-cpu-check \\\nvm1",
                        "climc server-live-migrate \\\n--prefer-host host2 \\\n--skip-cpu-check \\\n--max-bandwidth-mb 100 \\\nvm1",
                        "climc server-live-migrate \\\n--prefer-host host3 \\\n--skip-cpu-check \\\n--max-bandwidth-mb 100 \\\n--quickly-finish \\\nvm1",
                    ]
                    for (index, line) in lines.enumerated() {
                        let before = try await fleet.server("vm1").host.name
                        if index == 2 && before == "host1" {
                            let answer = try await type(fleet, line)
                            #expect(answer.status == 1, "it is there already")
                            continue
                        }
                        _ = try await done(fleet, line)
                        let seen = try await until(fleet, "running")
                        #expect(seen.isSubset(of: ["start_migrate", "live_migrating", "running"]), "\(seen)")
                        try await #expect(fleet.server("vm1").host.name != before)
                    }
                }
                // The page leaves the number out by mistake: told, not guessed.
                let wrong = try await type(fleet, "climc server-live-migrate --max-bandwidth-mb --quickly-finish vm1")
                #expect(wrong.status == 2 && wrong.error.contains("max-bandwidth-mb"))
                try await fleet.proveWhole("vm1", source: source, heard: heard)
            }
        }

        @Test func `rescue mode`() async throws {
            try await NetFleet.test { fleet in
                _ = try await fleet.createGuest(GuestRecipe(diskDataMB: 8, disks: ["format=qcow2,storage=shared"]))
                try await fleet.powerOff("host1")
                try await eventually("host1 is offline", within: .seconds(60)) {
                    try await fleet.hosts().contains { $0.name == "host1" && $0.status == .offline }
                }
                let line =
                    "export host_name=host2 vm_name=vm1; climc server-migrate --rescue-mode \\\n--auto-start \\\n--prefer-host $host_name"
                let unproven = try await type(fleet, "\(line) \\\n$vm_name")
                #expect(unproven.status == 1 && unproven.error.contains("--confirm-host-down"), "not known to be off")
                // At a terminal the line is enough: who types it is asked, and a wrong answer changes nothing.
                func atTerminal(_ answer: String) async throws -> (status: Int32, said: String) {
                    let answered = try await type(fleet, "printf '\(answer)\\n' | script -qec '\(line) $vm_name' /dev/null")
                    return (answered.status, answered.output + answered.error)
                }
                let declined = try await atTerminal("yes")
                #expect(declined.status == 1 && declined.said.contains("nobody vouched for host1"), "\(declined)")
                try await #expect(fleet.server("vm1").host.name == "host1")
                let vouched = try await atTerminal("host1")
                #expect(vouched.status == 0 && vouched.said.contains("Is host1 off?"), "\(vouched)")
                _ = try await until(fleet, "running")
                try await #expect(fleet.server("vm1").host.name == "host2")
                _ = try await fleet.ticking("vm1")
            }
        }
    }
}
