import ArgumentParser
import Client
import Foundation
import Testing

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
        "server-live-migrate --timeout 5 vm1",
        "server-live-migrate --wait --timeout soon vm1",
        "server-live-migrate --no-such-flag vm1",
        "server-create",
        "server-create vm1 --vcpus 0",
        "server-create vm1 --memory-mb 0",
        "server-create vm1 --disk size=none",
        "server-create vm1 --initrd /x",
        "server-stop --force --timeout 5 vm1",
        "server-list --limit 0",
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
        "server-migrate-forecast --max-downtime-ms 0 vm1",
        "server-migrate-forecast --cpu-check some vm1",
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

    @Test(arguments: ["--enable-tls", "--quickly-finish", "--keep-dest-guest-on-failed"])
    func `a flag that does not work yet says so`(flag: String) throws {
        let refusal = try #require(self.refusal("server-live-migrate \(flag) vm1"))
        #expect(refusal.code == 2)
        #expect(refusal.message.hasPrefix("\(flag) does not work yet"))
    }

    @Test(arguments: [
        "server-list --search vm1 --details --scope system",
        "host-list --hypervisor kvm",
        "server-live-migrate vm1",
        "server-live-migrate --prefer-host host1 --skip-cpu-check --skip-kernel-check --max-bandwidth-mb 100 vm1",
        "server-live-migrate --wait --timeout 5m vm1",
    ]) func `the documented command lines are understood`(line: String) {
        #expect(refusal(line) == nil)
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
