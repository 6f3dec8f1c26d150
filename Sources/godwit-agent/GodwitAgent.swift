import Agent
import AgentAPI
import AgentHTTP
import ArgumentParser
import Fleet
import Foundation
import Glibc
import Hypervisor
import Logging
import ServiceLifecycle
import UnixSignals
import Yams

/// The host agent. It ends on SIGTERM or SIGINT and leaves the guests running; the next one finds them again.
@main
struct GodwitAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-agent", abstract: "The one process that touches QEMU and disks on its host.")

    @Option(help: "The agent's configuration, a YAML file.")
    var config: String

    @Option(help: "How much is logged: trace, debug, info, notice, warning, error.")
    var logLevel = "info"

    func run() async throws {
        guard let level = Logger.Level(rawValue: logLevel) else {
            throw ValidationError("“\(logLevel)” is no log level: use trace, debug, info, notice, warning or error.")
        }
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        var logger = Logger(label: "godwit.agent")
        logger.logLevel = level
        do {
            try await serve(try read(), logger: logger)
        } catch let problem as AgentProblem {
            FileHandle.standardError.write(Data("godwit-agent: \(problem.reason.message)\n".utf8))
            throw ExitCode(problem.kind == .invalid ? 2 : 1)
        }
    }

    private func read() throws -> AgentConfiguration {
        do {
            let text = try String(contentsOfFile: config, encoding: .utf8)
            return try YAMLDecoder().decode(AgentConfiguration.self, from: text)
        } catch let error as DecodingError {
            throw AgentProblem(.invalid, .invalidRequest, "\(config) is not understood: \(Self.sentence(error))")
        } catch {
            throw AgentProblem(.invalid, .invalidRequest, "\(config) cannot be read: \(error.localizedDescription)")
        }
    }

    /// What is wrong and where, without the type names of the program.
    private static func sentence(_ error: DecodingError) -> String {
        func place(_ path: [any CodingKey], _ key: (any CodingKey)? = nil) -> String {
            let names = (path + (key.map { [$0] } ?? [])).map { key in key.intValue.map { "\($0 + 1)" } ?? key.stringValue }
            return names.isEmpty ? "" : "`\(names.joined(separator: "."))`: "
        }
        switch error {
        case .keyNotFound(let key, let context): return place(context.codingPath, key) + "is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .dataCorrupted(let context):
            return place(context.codingPath) + context.debugDescription
        @unknown default: return "\(error)"
        }
    }

    private func serve(_ configuration: AgentConfiguration, logger: Logger) async throws {
        let agent = try await HostAgent.open(configuration, logger: logger)
        do {
            let server = try AgentServer.application(agent, configuration: configuration, logger: logger) { address in
                do {
                    try agent.announce(address)
                } catch {
                    logger.error("the address cannot be written", metadata: ["problem": "\(error)"])
                }
                print("listening \(address)")
                fflush(nil)
            }
            var group = ServiceGroupConfiguration(
                services: [.init(service: server)], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
            // Long polls are cut off; orders under way are finished by the next agent.
            group.maximumGracefulShutdownDuration = .seconds(3)
            try await ServiceGroup(configuration: group).run()
        } catch {
            try await agent.close()
            throw error
        }
        try await agent.close()
    }
}
