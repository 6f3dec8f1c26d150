import ArgumentParser
import Client
import Foundation
import Output

/// Where the controller is and what to show it.
struct ConnectionOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The controller's address; else GODWIT_URL.", valueName: "address"))
    var url: String?

    @Option(help: ArgumentHelp("The bearer token; else GODWIT_TOKEN.", valueName: "token"))
    var token: String?

    @Option(
        help: ArgumentHelp("PEM file of the authority that the controller's certificate is of; else GODWIT_CACERT.", valueName: "file"))
    var cacert: String?

    /// Runs the body with a client of the controller.
    func withClient<Result: Sendable>(_ body: (GodwitClient) async throws -> Result) async throws -> Result {
        guard let url = setting(url, "GODWIT_URL") else {
            throw CommandFailure.usage(
                "No controller address: give --url or set GODWIT_URL (`godwit dev` starts a fleet on this machine and prints the line to set it)."
            )
        }
        guard let token = setting(token, "GODWIT_TOKEN") else {
            throw CommandFailure.usage("No token for \(url): give --token or set GODWIT_TOKEN.")
        }
        return try await GodwitClient.with(url: url, token: token, caFile: setting(cacert, "GODWIT_CACERT"), body)
    }

    private func setting(_ flag: String?, _ variable: String) -> String? {
        if let flag { return flag }
        let value = ProcessInfo.processInfo.environment[variable] ?? ""
        return value.isEmpty ? nil : value
    }
}

/// How to print.
struct OutputOptions: ParsableArguments {
    @Option(name: [.customShort("o"), .long], help: "How to print: table, json or yaml.")
    var output: OutputFormat = .table
}

/// A command that asks the controller.
protocol ControllerCommand: AsyncParsableCommand {
    var connection: ConnectionOptions { get }
    func run(_ client: GodwitClient) async throws
}

extension ControllerCommand {
    func run() async throws {
        try await connection.withClient { try await run($0) }
    }
}
