import ArgumentParser
import Client
import Output

struct HostAutoMigrateOnHostDown: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Set whether a host's servers are started elsewhere when it is proven dead.",
        discussion: """
            Only servers whose disks are all shared. The host needs godwit-guard beside its agent: it ends the guests of those servers when no \
            controller has heard of the host for the time of a lease, whether or not the host is well otherwise, and so proves that none runs. \
            Without a guard that has confirmed this nothing is started elsewhere; host-show says so. Shutdown needs down to be enabled too.
            """)

    @Option(
        help: ArgumentHelp("Start its servers elsewhere also after an orderly shutdown.", valueName: "{enable,disable}"),
        completion: .list(AutoMigrateRequest.Switch.allCases.map(\.rawValue)))
    var autoMigrateOnHostShutdown: String?

    @Option(
        help: ArgumentHelp("Start its servers elsewhere when it is proven dead.", valueName: "{enable,disable}"),
        completion: .list(AutoMigrateRequest.Switch.allCases.map(\.rawValue)))
    var autoMigrateOnHostDown: String?

    @Argument(help: ArgumentHelp("ID or name of the host.", valueName: "ID"), completion: Completions.hosts)
    var host: String

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    private func request() throws -> AutoMigrateRequest {
        func parse(_ text: String?, _ field: String) throws -> AutoMigrateRequest.Switch? {
            do {
                return try text.map { try Choices.parse($0, as: AutoMigrateRequest.Switch.self, field: field) }
            } catch let error as InputError {
                throw ValidationError(error.message)
            }
        }
        return AutoMigrateRequest(
            onHostDown: try parse(autoMigrateOnHostDown, "--auto-migrate-on-host-down"),
            onHostShutdown: try parse(autoMigrateOnHostShutdown, "--auto-migrate-on-host-shutdown"))
    }

    func validate() throws {
        let request = try request()
        guard request.onHostDown != nil || request.onHostShutdown != nil else {
            throw ValidationError(
                "nothing is to be set: give --auto-migrate-on-host-down, --auto-migrate-on-host-shutdown or both, enable or disable.")
        }
        guard request.onHostDown != .disable || request.onHostShutdown != .enable else {
            throw ValidationError(
                "--auto-migrate-on-host-shutdown enable needs --auto-migrate-on-host-down enable too: enable both, or disable both.")
        }
    }

    func run(_ client: GodwitClient) async throws {
        let host = try await client.setAutoMigration(host, try request())
        try output.output.print(host, table: HostTables.one(host))
    }
}
