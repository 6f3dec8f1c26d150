import ArgumentParser
import Client
import Fleet
import Foundation
import Testing

@testable import Output
@testable import godwit

/// Each needs no controller: what is wrong with a command line is told before anyone is asked.
@Suite struct CommandLineTests {
    /// The sentence and exit code that a command line ends with before it does anything.
    private func refusal(_ line: String) -> (code: Int32, message: String)? {
        do {
            _ = try Godwit.parseAsRoot(line.split(separator: " ").map(String.init))
            return nil
        } catch {
            let failure = Godwit.failure(error)
            return (failure.exitCode, failure.message)
        }
    }

    @Test(arguments: [
        "server-live-migrate --max-bandwidth-mb --quickly-finish vm1",
        "server-live-migrate --max-bandwidth-mb",
        "server-live-migrate --max-bandwidth-mb 0 vm1",
        "server-live-migrate --max-bandwidth-mb -5 vm1",
        "server-live-migrate --max-bandwidth-mb=-5 vm1",
        "server-live-migrate --max-bandwidth-mb fast vm1",
        "server-live-migrate",
        "server-live-migrate vm1 vm2",
        "server-live-migrate --prefer-host",
        "server-live-migrate --wait-timeout 5 vm1",
        "server-live-migrate --wait --wait-timeout soon vm1",
        "server-live-migrate --timeout soon vm1",
        "server-live-migrate --timeout 0 vm1",
        "server-live-migrate --stall-timeout 1s vm1",
        "server-live-migrate --stall-timeout 500ms vm1",
        "server-live-migrate --max-downtime-ms --post-copy vm1",
        "server-live-migrate --max-downtime-ms 0 vm1",
        "server-live-migrate --multifd 1 vm1",
        "server-live-migrate --multifd 17 vm1",
        "server-live-migrate --multifd 2 --post-copy vm1",
        "server-live-migrate --cpu-check none vm1",
        "server-live-migrate --skip-cpu-check --cpu-check features vm1",
        "server-live-migrate --auto-start vm1",
        "server-migrate",
        "server-migrate --confirm-host-down vm1",
        "server-migrate --rescue-mode --max-bandwidth-mb 5 vm1",
        "server-migrate --rescue-mode --enable-tls vm1",
        "server-migrate --rescue-mode --stall-timeout 10 vm1",
        "server-migrate --max-bandwidth-mb --auto-start vm1",
        "server-migrate --quickly-finish vm1",
        "server-cancel-live-migrate",
        "server-cancel-live-migrate --wait-timeout 5 vm1",
        "migration-cancel",
        "server-set-live-migrate-params vm1",
        "server-set-live-migrate-params --max-bandwidth-mb -1 vm1",
        "server-set-live-migrate-params --downtime-limit-ms 0 vm1",
        "server-set-live-migrate-params --downtime-limit-ms --max-bandwidth-mb 5 vm1",
        "completion",
        "completion tcsh",
        "server-live-migrate --no-such-flag vm1",
        "server-create",
        "server-create vm1 --vcpus 0",
        "server-create vm1 --memory-mb 0",
        "server-create vm1 --disk size=none",
        "server-create vm1 --initrd /x",
        "server-stop --force --timeout 5 vm1",
        "server-list --limit 0",
        "server-list --limit 1001",
        "server-list --offset -1",
        "server-list --order up",
        "server-list --filter-any",
        "host-list --status gone",
        "migration-list --mode warm",
        "server-list --status gone",
        "server-list --scope everywhere",
        "server-list --output xml",
        "migration-list --state done",
        "migration-list --limit 0",
        "ca-issue /tmp --name host1",
        "ca-issue /tmp --name agent/a/b",
        "server-migrate-forecast",
        "server-migrate-forecast --live-migrate --rescue-mode vm1",
        "server-migrate-forecast --max-bandwidth-mb 0 vm1",
        "server-migrate-forecast --max-bandwidth-mb 1000001 vm1",
        "server-migrate-forecast --live-migrate --skip-cpu-check --cpu-check features vm1",
        "server-migrate-forecast --timeout 31d vm1",
        "server-migrate-forecast --live-migrate --max-downtime-ms 0 vm1",
        "server-migrate-forecast --max-downtime-ms 100 vm1",
        "server-migrate-forecast --skip-cpu-check vm1",
        "server-migrate-forecast --rescue-mode --post-copy vm1",
        "server-migrate-forecast --rescue-mode --max-bandwidth-mb 10 vm1",
        "server-migrate-forecast --live-migrate --cpu-check some vm1",
        "history --limit 0",
        "history --since yesterday",
        "history --since 1d --until 2d",
        "history --state gone",
        "history-stats --by colour",
        "history-stats --by day,day",
        "history-export --format xml",
        "history-prune --archive /tmp/a",
        "history-prune --older-than 90d",
        "history-prune --older-than 90d --keep 5 --archive /tmp/a",
        "history-prune --older-than soon --archive /tmp/a",
        "history-prune --keep -1 --archive /tmp/a",
        "history-prune --keep 5 --dry-run --archive /tmp/a",
        "migration-list --since yesterday",
        "migration-list --since 1d --until 2d",
        "host-maintenance",
        "host-set-overcommit host1",
        "host-set-overcommit host1 --cpu 0",
        "host-set-slots host1 --inbound 1001",
        "server-group-create web",
        "server-group-create web --policy near",
        "server-group-add-server web",
        "dev --hosts 0",
        "dev --workers 0",
        "server-migrate-everything",
    ]) func `wrong usage exits 2 with one line`(line: String) throws {
        let refusal = try #require(self.refusal(line))
        #expect(refusal.code == 2, "\(refusal.message)")
        #expect(!refusal.message.isEmpty && !refusal.message.contains("\n"), "\(refusal.message)")
    }

    @Test func `a bandwidth without its value is told by the flag's name`() throws {
        let refusal = try #require(self.refusal("server-live-migrate --max-bandwidth-mb --quickly-finish vm1"))
        #expect(refusal.message.contains("--max-bandwidth-mb"))
    }

    @Test(arguments: [
        ("server-list --field colour", "--field: a server has no field “colour”; its fields are ID, Name, Status"),
        ("server-list --order-by colour", "--order-by: a server has no field “colour”; its fields are ID, Name, Status"),
        ("server-list --filter colour=red", "--filter: a server has no field “colour”; its fields are ID, Name, Status"),
        ("server-list --filter status.resembles(running)", "“resembles” is none of equals, notequals"),
        ("server-list --filter running", "“running” is no filter; write it like status.equals(running)"),
        ("server-list --filter vcpu_count.between(1)", "between takes 2 values"),
        ("host-list --filter memory=1", "a host has no field “memory”"),
        ("migration-list --field guest", "a migration has no field “guest”"),
    ]) func `what a list does not have is told with what it has, before anybody is asked`(line: String, says: String) async throws {
        let command = try Godwit.parseAsRoot(line.split(separator: " ").map(String.init))
        var list = try #require(command as? any AsyncParsableCommand)
        let failure = await #expect(throws: CommandFailure.self) { try await list.run() }
        #expect(failure?.exitCode == 2)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "")")
    }

    @Test func `a live migration's flags become its request`() throws {
        let line = """
            --skip-kernel-check --enable-tls --quickly-finish --max-bandwidth-mb 100 --keep-dest-guest-on-failed --prefer-host h2 \
            --max-downtime-ms 800 --multifd 4 --no-auto-converge --cpu-check features --eject-cdrom --timeout 2h \
            --stall-timeout 30 vm1
            """
        let command = try ServerLiveMigrate.parse(line.split(separator: " ").map(String.init))
        #expect(command.server == "vm1")
        #expect(
            command.request
                == LiveMigrateRequest(
                    preferHost: "h2", maxBandwidthMB: 100, cpuCheck: .features, skipCPUCheck: false, skipKernelCheck: true, enableTLS: true,
                    quicklyFinish: true, maxDowntimeMS: 800, autoConverge: false, postCopy: false, multifd: 4, keepDestGuestOnFailed: true,
                    ejectCDROM: true, stallTimeoutS: 30, timeoutS: 7200))
        let plain = try ServerLiveMigrate.parse(["vm1"]).request
        #expect(plain.autoConverge == true && plain.maxBandwidthMB == nil && plain.timeoutS == nil && plain.multifd == nil)
    }

    @Test func `a migration's flags become its request`() throws {
        let cold = try ServerMigrate.parse(["--auto-start", "--prefer-host", "h2", "--max-bandwidth-mb", "9", "--enable-tls", "vm1"])
        #expect(
            cold.request
                == MigrateRequest(
                    preferHost: "h2", autoStart: true, rescueMode: false, confirmHostDown: false, maxBandwidthMB: 9, enableTLS: true))
        let rescue = try ServerMigrate.parse(["--rescue-mode", "--confirm-host-down", "vm1"])
        #expect(rescue.request.rescueMode == true && rescue.request.confirmHostDown == true && rescue.request.autoStart == false)
    }

    @Test func `flags replace what a file says`() throws {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("server-\(UUID().uuidString).yaml")
        defer { try? FileManager.default.removeItem(at: file) }
        try "name: vm1\nvcpus: 4\nmemory_mb: 256\ndisks:\n  - size: 1G\n".write(to: file, atomically: true, encoding: .utf8)
        let create = try ServerCreate.parse(["-f", file.path, "vm2", "--memory-mb", "512"])
        let request = try create.request()
        #expect(request.name == "vm2")
        #expect(request.vcpus == 4)
        #expect(request.memoryMB == 512)
        #expect(request.disks?.first?.sizeBytes == 1 << 30)
    }

    @Test func `a file that is not there is wrong usage`() throws {
        let create = try ServerCreate.parse(["-f", "/nowhere/server.yaml"])
        let error = #expect(throws: CommandFailure.self) { try create.request() }
        #expect(error?.exitCode == 2)
        #expect(error?.message.contains("/nowhere/server.yaml") == true)
    }
}
