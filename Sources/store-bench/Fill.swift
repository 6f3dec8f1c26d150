import ArgumentParser
import Databases
import Fleet
import Foundation
import SQL
import Store

/// Years of a fleet: finished migrations with their history, each row chained to the one before it as the store does, straight into the
/// tables, whose indexes are made again afterwards.
struct Fill: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Fill a store with finished migrations and their history.")
    static let rowsPerMigration = 6

    @OptionGroup var place: Place
    @Option(help: "Rows of the history, six for each migration.") var rows = 1_000_000
    @Option(help: "Days up to now over which they are spread.") var days = 365

    func run() async throws {
        let (hosts, servers) = try await place.with { store in
            (try await store.hosts().map(\.id.value), try await store.servers(ServerFilter()).map(\.id.value))
        }
        guard hosts.count > 1, !servers.isEmpty else { throw BenchFailure("there are no hosts and servers; prepare some") }
        let count = rows / Self.rowsPerMigration
        let now = Timestamp.now.milliseconds
        let span = Int64(days) * 86_400_000
        let sink: any FillSink =
            switch try DatabaseLocation(place.store).dialect {
            case .sqlite: try SQLiteSink(path: place.store)
            case .postgres: try PostgresSink(url: place.store, from: now - span - 60_000, until: now)
            }
        let begun = ContinuousClock.now
        var random = Seeded(state: 20_261_125)
        var sequence: Int64 = 0
        for number in 0..<count {
            let start = now - span + Int64(Double(number) / Double(count) * Double(span - 600_000))
            let life = FilledLife(number: number, start: start, hosts: hosts, servers: servers, random: &random)
            try sink.add(life, sequence: &sequence)
        }
        try sink.finish(nextSequence: sequence + 1)
        tell(["rows": Double(sequence), "seconds": (ContinuousClock.now - begun).seconds])
    }
}

/// The same numbers at every run (SplitMix64).
struct Seeded: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = (state ^ (state >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Where filled rows go.
protocol FillSink {
    func add(_ life: FilledLife, sequence: inout Int64) throws
    func finish(nextSequence: Int64) throws
}

/// One finished migration with its history.
struct FilledLife {
    static let migrationColumns = [
        "id", "server_id", "mode", "options", "state", "direction", "epoch", "attempt", "max_attempts", "source_id", "target_id",
        "excluded", "reason_code", "reason_message", "progress", "blackout", "actor", "claimable", "active", "created_at", "due_at",
        "finished_at",
    ]
    static let transitionColumns = ["seq"] + HistoryHash.columns + ["hash"]
    static let headColumns = ["migration_id", "length", "hash"]
    private static let reasons = [
        "target-lost", "did-not-converge", "disk-full", "cancelled", "timed-out", "stalled", "no-host", "source-lost",
    ]
    private static let states = ["pending", "scheduling", "syncing-disk", "syncing-memory", "switching", "ready"]

    /// Of ``migrationColumns``.
    let migration: [SQLValue]
    /// Of ``HistoryHash/columns`` each, with the row's hash.
    let transitions: [(values: [SQLValue], hash: String)]

    init(number: Int, start: Int64, hosts: [String], servers: [String], random: inout Seeded) {
        // As the store makes them: by the time of the submit.
        let high = UInt64(start) << 16 | 0x7000 | UInt64(number & 0xfff)
        let id = Self.uuid(high, random.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000)
        let server = servers[Int(random.next() % UInt64(servers.count))]
        let from = Int(random.next() % UInt64(hosts.count))
        let (source, target) = (hosts[from], hosts[(from + 1 + Int(random.next() % UInt64(hosts.count - 1))) % hosts.count])
        let reason = random.next() % 20 == 0 ? Self.reasons[Int(random.next() % UInt64(Self.reasons.count))] : nil
        let blackout = Int64(20_000 + random.next() % 400_000)
        let bytes = Int64(1 << 30 + random.next() % (1 << 34))
        var rows: [(values: [SQLValue], hash: String)] = []
        var (previous, at, hash): (String?, Int64, String) = (nil, start, "")
        for step in 0..<Fill.rowsPerMigration {
            // Where it fails, it turns back in syncing-memory and fails then.
            var (state, direction) = (Self.states[step], "forward")
            if reason != nil, step == 4 { (state, direction) = ("syncing-memory", "rollback") }
            if reason != nil, step == 5 { state = "failed" }
            let told: SQLValue = reason != nil && step >= 4 ? .text(reason ?? "") : .null
            let message: SQLValue = told == .null ? .null : .text("The migration ended for a reason that a person can read.")
            let values: [SQLValue] = [
                .text(id), .text(server), .integer(at), previous.map(SQLValue.text) ?? .null, .text(state), .text(direction),
                .integer(step == 0 ? 0 : 1), .integer(Int64(number)), .text(source), step < 2 ? .null : .text(target),
                .text(step == 0 ? "ada" : "worker-\(number % 8)"), .null, told, message, .text("{}"), .text("live"),
            ]
            hash = HistoryHash.of(values, after: hash)
            rows.append((values, hash))
            previous = state
            at += Int64(1 + random.next() % 60_000)
        }
        transitions = rows
        let ended = rows[rows.count - 1].values
        migration = [
            .text(id), .text(server), .text("live"), .text("{}"), ended[4], .text("forward"), .integer(Int64(number) + 1), .integer(1),
            .integer(3), .text(source), .text(target), .text("{}"), ended[12], ended[13],
            .text("{\"diskDone\":\(bytes),\"memoryTransferred\":\(bytes / 4)}"),
            reason == nil ? .text("{\"totalUS\":\(blackout)}") : .null, .text("ada"), .integer(0), .integer(0), .integer(start),
            .integer(start), ended[2],
        ]
    }

    private static func uuid(_ high: UInt64, _ low: UInt64) -> String {
        func digits(_ value: UInt64) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        let (one, two) = (Array(digits(high)), Array(digits(low)))
        return [one[0..<8], one[8..<12], one[12..<16], two[0..<4], two[4..<16]].map { String($0) }.joined(separator: "-")
    }
}
