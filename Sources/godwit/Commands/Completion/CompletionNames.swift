import ArgumentParser
import Client
import Fleet
import Foundation
import Output

/// What completion scripts call.
///
/// Where the controller does not answer at once, or nothing is set that leads to it, nothing is offered: a shell that waits or complains is
/// worse than one that does not help.
struct CompletionNames: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print names or ids, one a line, for completion scripts.", shouldDisplay: false)

    enum Things: String, CaseIterable, ExpressibleByArgument {
        case servers, hosts, migrations, batches
        case unfinishedMigrations = "unfinished-migrations"
    }

    @Argument var things: Things

    private static let patience = Duration.milliseconds(1500)

    func run() async {
        let environment = ProcessInfo.processInfo.environment
        guard let url = environment["GODWIT_URL"], let token = environment["GODWIT_TOKEN"], !url.isEmpty, !token.isEmpty else { return }
        let caFile = environment["GODWIT_CACERT"].flatMap { $0.isEmpty ? nil : $0 }
        let things = things
        let names = await withTaskGroup(of: [String].self) { group in
            group.addTask {
                (try? await GodwitClient.with(url: url, token: token, caFile: caFile) { try await Self.names(of: things, $0) }) ?? []
            }
            group.addTask {
                try? await Task.sleep(for: Self.patience)
                return []
            }
            let first = await group.next() ?? []
            group.cancelAll()
            return first
        }
        Terminal.output.write(names.map { "\($0)\n" }.joined())
    }

    private static func names(of things: Things, _ client: GodwitClient) async throws -> [String] {
        let all = ListQuery(limit: ListQuery.most)
        switch things {
        case .servers: return try await client.servers(all).items.map(\.name)
        case .hosts: return try await client.hosts(all).items.map(\.name)
        case .migrations: return try await client.migrations(MigrationQuery(limit: 100)).items.map(\.id)
        case .batches: return try await client.batches(ListQuery(limit: 100)).items.flatMap { [$0.name, $0.id] }
        case .unfinishedMigrations:
            let states = MigrationState.allCases.filter { !$0.isFinished }
            return try await client.migrations(MigrationQuery(states: states, limit: ListQuery.most)).items.map(\.id)
        }
    }
}
