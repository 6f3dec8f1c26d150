import ArgumentParser
import Fleet
import SQL
import Store

/// Fills a new store with hosts and servers, and submits some of them.
struct Prepare: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Make a store with hosts, servers and submitted migrations.")

    @OptionGroup var place: Place
    @Option(help: "How many hosts.") var hosts = 100
    @Option(help: "How many servers, evenly on all hosts, running.") var servers = 2000
    @Option(help: "How many of these have a migration submitted.") var submitted = 2000

    func run() async throws {
        try await place.with { store in
            let ids = try await store.addHosts(hosts)
            let servers = try await store.addServers(servers, on: ids)
            try await inParallel(servers.prefix(submitted), width: 64) { server in
                _ = try await store.submitMigration(
                    server: server, mode: .live, options: MigrationOptions(), maxAttempts: 3, actor: "bench")
            }
        }
    }
}

/// Runs the body for each, so many at once.
func inParallel<Items: Sequence>(
    _ items: Items, width: Int, _ body: @escaping @Sendable (Items.Element) async throws -> Void
) async throws where Items.Element: Sendable {
    try await withThrowingTaskGroup(of: Void.self) { group in
        var running = 0
        for item in items {
            if running == width { try await group.next() } else { running += 1 }
            group.addTask { try await body(item) }
        }
        try await group.waitForAll()
    }
}
