import ArgumentParser
import Databases
import Fleet
import Recording
import SQL
import Store

/// The same lives without Godwit: what the store asked for them, statement by statement with the same values, by the engine's own C
/// interface, one transaction after the other and one commit each.
struct Floor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The statements of lives, by the engine's C interface.")

    @OptionGroup var place: Place
    @Option(help: "A second database with the same rows, on which the statements are taken down before.") var recorded: String
    @Option(help: "How many lives.") var lives = 1000
    @Flag(help: "Tell on standard error what each statement took.") var statements = false

    func run() async throws {
        let location = try DatabaseLocation(recorded)
        let recorder = Recorder()
        let database = RecordingDatabase(try await location.open(), recorder)
        let store = try await Store(database)
        let hosts = try await store.hosts().map(\.id)
        recorder.forget()
        for _ in 0..<lives { try await store.live(worker: "bench-0", hosts: hosts) }
        await database.close()
        // Brings the schema's step, should it be missing, before the clock runs.
        try await place.with { _ in }
        let transactions = recorder.all
        let session: any RawSession =
            switch location.dialect {
            case .sqlite: try RawSQLite(path: place.store)
            case .postgres: try RawPostgres(url: place.store)
            }
        var costs = StatementCosts()
        let begun = ContinuousClock.now
        for transaction in transactions {
            try session.begin(writing: transaction.isWrite)
            for statement in transaction.statements {
                if statements { try costs.measure(statement) { try session.run(statement) } } else { try session.run(statement) }
            }
            if statements { try costs.measure("COMMIT") { try session.commit() } } else { try session.commit() }
        }
        let seconds = (ContinuousClock.now - begun).seconds
        session.close()
        if statements { costs.print(lives: lives) }
        let count = transactions.reduce(0) { $0 + $1.statements.count }
        tell([
            "seconds": seconds, "perSecond": Double(lives) / seconds, "statementsPerLife": Double(count) / Double(lives),
            "commitsPerLife": Double(transactions.count(where: \.isWrite)) / Double(lives),
        ])
    }
}

/// An engine as its C interface gives it, one session, every statement prepared once.
protocol RawSession {
    func begin(writing: Bool) throws
    /// Runs it to its last row.
    func run(_ statement: SQLStatement) throws
    func commit() throws
    func close()
}
