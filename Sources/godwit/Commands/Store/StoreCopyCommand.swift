import ArgumentParser
import Databases
import Output
import StoreCopy

struct StoreCopyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "store-copy", abstract: "Copy a store into another, empty database.",
        discussion: """
            For who outgrows SQLite. Stop controllers and workers first: what is written to the old store afterwards is not taken along. \
            Agents and guests need not know. All arrives in one transaction, after it was read back and compared by counts and hashes.
            """)

    @Option(name: .customLong("from"), help: ArgumentHelp("The store to copy; see --to.", valueName: "store"))
    var source: String

    @Option(name: .customLong("to"), help: ArgumentHelp(DatabaseLocation.help, valueName: "store"))
    var target: String

    func run() async throws {
        try await StoreAccess.with(source, "--from") { from, _ in
            try await StoreAccess.with(target, "--to") { to, _ in
                let tables: [StoreCopy.Table]
                do {
                    tables = try await StoreCopy(from: from, to: to).run()
                } catch let failure as StoreCopy.Failure {
                    throw CommandFailure.failed(failure.description)
                }
                let rows = tables.map { [$0.name, "\($0.rows)", String($0.hash.prefix(16))] }
                Terminal.output.write(Table(["Table", "Rows", "SHA-256"], rows: rows).text)
            }
        }
    }
}
