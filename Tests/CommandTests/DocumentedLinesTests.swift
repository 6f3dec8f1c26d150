import ArgumentParser
import Testing

@testable import Output
@testable import godwit

/// The command lines that climc's documentation of virtual machine migration shows, word for word.
@Suite struct DocumentedLinesTests {
    @Test(arguments: [
        "climc server-list --search vm1 --details --scope system",
        "climc server-migrate vm1",
        "climc server-list --search vm1 --scope system",
        "climc host-list --hypervisor kvm",
        "climc server-migrate --prefer-host xxx vm1",
        "climc server-migrate --auto-start vm1",
        "climc server-migrate --auto-start --prefer-host xxx vm1",
        "climc server-migrate --rescue-mode --auto-start --prefer-host $host_name $vm_name",
        "climc server-live-migrate vm1",
        "climc server-live-migrate --skip-cpu-check vm1",
        "climc server-live-migrate --prefer-host host1 --skip-cpu-check vm1",
        "climc server-live-migrate --prefer-host host1 --skip-cpu-check --max-bandwidth-mb 100 vm1",
    ]) func `every example is understood`(line: String) throws {
        _ = try Godwit.parseAsRoot(words(line))
    }

    @Test func `the example that leaves a value out is told by the flag's name`() throws {
        let line = "climc server-live-migrate --prefer-host host1 --skip-cpu-check --max-bandwidth-mb --quickly-finish vm1"
        let error = #expect(throws: (any Error).self) { try Godwit.parseAsRoot(words(line)) }
        let failure = Godwit.failure(try #require(error))
        #expect(failure.exitCode == 2)
        #expect(failure.message.contains("--max-bandwidth-mb") && failure.message.contains("number of MB/s"), "\(failure.message)")
    }

    @Test func `help shows every documented flag in its usage`() throws {
        for (command, flags) in [
            (ServerMigrate.self, ["[--auto-start]", "[--rescue-mode]", "[--prefer-host PREFER_HOST]", "<ID>"]),
            (
                ServerLiveMigrate.self,
                [
                    "[--skip-cpu-check]", "[--skip-kernel-check]", "[--enable-tls]", "[--quickly-finish]",
                    "[--max-bandwidth-mb MAX_BANDWIDTH_MB]", "[--keep-dest-guest-on-failed]", "[--prefer-host PREFER_HOST]", "<ID>",
                ]
            ),
        ] as [(any ParsableCommand.Type, [String])] {
            let usage = try #require(command.configuration.usage)
            let help = Godwit.helpMessage(for: command, columns: 80)
            for flag in flags { #expect(usage.contains(flag) && help.contains(flag), "\(flag)") }
        }
    }

    @Test func `no line of a usage is wider than a terminal`() {
        for command in Godwit.configuration.groupedSubcommands.flatMap(\.subcommands) {
            for line in (command.configuration.usage ?? "").split(separator: "\n") { #expect("USAGE: \(line)".count < 80, "\(line)") }
        }
    }

    /// Without the program's name.
    private func words(_ line: String) -> [String] { line.split(separator: " ").dropFirst().map(String.init) }
}
