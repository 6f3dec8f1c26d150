import ArgumentParser
import Client
import Output

struct DoctorCommand: ControllerCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Compare the store with what every host's agent and QEMU say, and name every difference with its remedy.",
        discussion: """
            Found are guests that the store does not know, has elsewhere, or has twice; servers without a guest or disk, and such as run against \
            the store's word; disks left over; leases, reservations and cleanups that nobody sees to; hosts that do not answer; certificates \
            that end within 30 days; clocks that are more than 5 s off. Everything is looked at twice, some seconds apart, and what a migration \
            is at work on explains itself.

            With --fix what is safe is done, and told for each finding: a status is set to what the guest is, what a finished attempt left is \
            given to the workers to remove, files of a server that is whole elsewhere are removed. No running guest is ended, and no only copy \
            of a disk removed.

            That no row of the history was altered is history-verify's to prove. Exit code: 0 nothing was found or all of it was mended, 1 \
            findings are left, 2 wrong usage.
            """)

    @Flag(help: "Do what is safe about what is found.")
    var fix = false

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func run(_ client: GodwitClient) async throws {
        let found = try await fix ? client.fixDiagnosed() : client.diagnosis()
        let left = found.findings.count { !$0.isFixed }
        try output.output.print(found, table: DoctorTables.findings(found) + DoctorTables.footer(found))
        guard left > 0 else { return }
        let fixable = found.findings.contains { $0.isFixable && !$0.isFixed } && !fix
        throw CommandFailure.failed(
            "\(left) finding\(left == 1 ? " is" : "s are") left\(fixable ? "; --fix mends some" : "").")
    }
}
