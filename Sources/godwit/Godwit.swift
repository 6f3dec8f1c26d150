import ArgumentParser
import Client
import Foundation
import Identity
import Output

/// The command line: climc's command names and flags, under its own name or a link named `climc`.
struct Godwit: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: program,
        abstract: "Moves virtual machines between QEMU/KVM hosts and does not lose one on the way.",
        discussion: """
            The controller's address, token and CA file come from --url, --token and --cacert, or from GODWIT_URL, GODWIT_TOKEN and \
            GODWIT_CACERT. `godwit dev` starts a whole fleet on this machine and prints them.

            Exit codes: 0 done, 1 refused or failed, 2 wrong usage.
            """,
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(name: "Trying it out", subcommands: [Dev.self, FailpointList.self]),
            CommandGroup(
                name: "Servers",
                subcommands: [
                    ServerCreate.self, ServerList.self, ServerShow.self, ServerStart.self, ServerStop.self, ServerSuspend.self,
                    ServerResume.self, ServerDelete.self, ServerMigrate.self, ServerLiveMigrate.self, ServerMigrateForecast.self,
                    ServerCancelLiveMigrate.self, ServerSetLiveMigrateParams.self,
                ]),
            CommandGroup(
                name: "Server groups",
                subcommands: [
                    ServerGroupCreate.self, ServerGroupList.self, ServerGroupShow.self, ServerGroupDelete.self, ServerGroupAddServer.self,
                    ServerGroupRemoveServer.self,
                ]),
            CommandGroup(
                name: "Hosts",
                subcommands: [
                    HostList.self, HostShow.self, HostRegister.self, HostEnable.self, HostDisable.self, HostMaintenance.self,
                    HostUnmaintenance.self, HostAutoMigrateOnHostDown.self, HostSetOvercommit.self, HostSetSlots.self, KeptList.self,
                    KeptDelete.self,
                ]),
            CommandGroup(
                name: "Migrations",
                subcommands: [MigrationList.self, MigrationShow.self, MigrationWatch.self, MigrationCancel.self, CleanupList.self]),
            CommandGroup(name: "Health", subcommands: [DoctorCommand.self]),
            CommandGroup(
                name: "Batches",
                subcommands: [
                    BatchMigrate.self, BatchList.self, BatchShow.self, BatchWatch.self, BatchPause.self, BatchResume.self, BatchCancel.self,
                    BatchRetry.self, QueueLimits.self,
                ]),
            CommandGroup(
                name: "History",
                subcommands: [HistoryList.self, HistoryStats.self, HistoryExport.self, HistoryVerify.self, HistoryPrune.self]),
            CommandGroup(name: "Store", subcommands: [StoreInit.self, StoreUpgrade.self, StoreCopyCommand.self]),
            CommandGroup(name: "Certificates", subcommands: [CACreate.self, CAIssue.self]),
            CommandGroup(name: "Shell", subcommands: [Completion.self, CompletionNames.self]),
        ])

    /// Runs one command line, prints what went wrong in one sentence on standard error, and answers the exit code.
    static func run(_ arguments: [String]) async -> Int32 {
        do {
            try requireCommand(arguments)
            var command = try parseAsRoot(arguments)
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return 0
        } catch {
            let failure = failure(error, of: arguments)
            if failure.exitCode == 0 {
                // Help and version are what was asked for.
                Terminal.output.write(failure.message + "\n")
            } else {
                Terminal.error.write("\(program): \(failure.message)\n")
            }
            return failure.exitCode
        }
    }

    /// The parser would take a misspelt command for an argument too many.
    static func requireCommand(_ arguments: [String]) throws(CommandFailure) {
        guard let first = arguments.first, !first.hasPrefix("-"), first != "help", !commands.contains(first) else { return }
        throw CommandFailure.usage("There is no command “\(first)”; `\(program) --help` lists them.")
    }

    /// The name it was called by.
    static let program = (CommandLine.arguments.first.map { URL(fileURLWithPath: $0).lastPathComponent }) == "climc" ? "climc" : "godwit"

    private static var commands: [String] {
        configuration.groupedSubcommands.flatMap(\.subcommands).map { $0._commandName }
    }

    /// What an error means for whoever typed the command: one sentence, and the exit code.
    static func failure(_ error: any Error, of arguments: [String] = []) -> CommandFailure {
        switch error {
        case let failure as CommandFailure:
            return failure
        case let failure as ClientError:
            return CommandFailure(exitCode: failure.code == .configuration ? 2 : 1, message: failure.message)
        case let failure as IdentityError:
            return CommandFailure(exitCode: failure.code == .invalidRequest ? 2 : 1, message: failure.message)
        default:
            let code = exitCode(for: error)
            if code == .success { return CommandFailure(exitCode: 0, message: fullMessage(for: error)) }
            // The parser may add hints in further lines; the first says what is wrong.
            let sentence = message(for: error).split(separator: "\n").first.map(String.init) ?? "\(error)"
            guard code == .validationFailure else { return CommandFailure.failed(sentence) }
            let help = arguments.first.map { commands.contains($0) ? "\($0) --help" : "--help" } ?? "--help"
            return CommandFailure.usage(sentence.last == "." ? sentence : "\(sentence); see `\(program) \(help)`.")
        }
    }
}
