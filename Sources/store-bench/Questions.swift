import ArgumentParser
import Fleet
import Foundation
import Store

/// Questions to a filled history, each with other values every time.
struct Questions: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Ask a filled history, and tell how long answers take.")

    @OptionGroup var place: Place
    @Option(help: "How often each question is asked.") var times = 300
    @Option(help: "Days over which the history is spread.") var days = 365

    func run() async throws {
        let day: Int64 = 86_400_000
        try await place.with { store in
            let hosts = try await store.hosts().map(\.id)
            let servers = try await store.servers(ServerFilter()).map(\.id)
            let now = Timestamp.now.milliseconds
            guard let newest = try await store.history(HistoryFilter(), limit: 1).first?.sequence else { throw BenchFailure("no history") }
            func moment() -> Int64 { now - Int64.random(in: 0..<Int64(max(1, days - 31)) * day) }
            try await ask("newest 50 of a server") {
                try await store.history(HistoryFilter(server: servers.randomElement()), limit: 50).count
            }
            try await ask("newest 50 of a host in a day") {
                let until = moment()
                return try await store.history(
                    HistoryFilter(
                        host: hosts.randomElement(), since: Timestamp(milliseconds: until - day), until: Timestamp(milliseconds: until)),
                    limit: 50
                ).count
            }
            try await ask("failures by reason and day over 30 days") {
                let until = moment()
                return try await store.historyStatistics(
                    by: [.day, .reason],
                    HistoryFilter(
                        states: [.failed], since: Timestamp(milliseconds: until - 30 * day), until: Timestamp(milliseconds: until))
                ).count
            }
            try await ask("page of 1,000") {
                try await store.history(HistoryFilter(), after: Int64.random(in: 2_000...max(2_001, newest)), limit: 1000).count
            }
        }
    }

    private func ask(_ question: String, _ body: () async throws -> Int) async throws {
        for _ in 0..<5 { _ = try await body() }
        var milliseconds: [Double] = []
        for _ in 0..<times {
            let begun = ContinuousClock.now
            guard try await body() > 0 else { continue }
            milliseconds.append((ContinuousClock.now - begun).seconds * 1000)
        }
        milliseconds.sort()
        guard let p50 = milliseconds.percentile(50), let p99 = milliseconds.percentile(99) else {
            throw BenchFailure("“\(question)” found nothing")
        }
        tell(["p50": p50, "p99": p99, "times": Double(milliseconds.count)], ["question": question])
    }
}

extension [Double] {
    /// Of a sorted list, by nearest rank.
    func percentile(_ hundredths: Int) -> Double? {
        isEmpty ? nil : self[Swift.min(count - 1, Swift.max(0, (count * hundredths + 99) / 100 - 1))]
    }
}
