import Agent
import AgentAPI
import AgentHTTP
import AgentSettings
import ArgumentParser
import Fleet
import Foundation
import Glibc
import Guarding
import Hypervisor
import Logging
import ServiceLifecycle
import UnixSignals

/// The host agent. It ends on SIGTERM or SIGINT and leaves the guests running; the next one finds them again.
@main
struct GodwitAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-agent", abstract: "The one process that touches QEMU and disks on its host.",
        discussion: """
            announce-shutdown tells the agent that runs with that configuration that the host is being shut down in order, and waits up to 10 s \
            until it has told that to controllers.
            """)

    enum Errand: String, ExpressibleByArgument {
        case announceShutdown = "announce-shutdown"
    }

    @Argument(help: "announce-shutdown, or nothing: then the agent is run.")
    var errand: Errand?

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
            let configuration = try AgentConfiguration(file: config)
            switch errand {
            case nil: try await serve(configuration, logger: logger)
            case .announceShutdown: try await announceShutdown(configuration)
            }
        } catch let problem as AgentProblem {
            FileHandle.standardError.write(Data("godwit-agent: \(problem.reason.message)\n".utf8))
            throw ExitCode(problem.kind == .invalid ? 2 : 1)
        }
    }

    private func announceShutdown(_ configuration: AgentConfiguration) async throws {
        try configuration.validate()
        let files = GuardFiles(HostPaths(configuration))
        try files.announceShutdown()
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        while !files.isShutdownTold {
            guard ContinuousClock.now < deadline else {
                throw AgentProblem(.failed, .agentError, "no controller was told of the shutdown within 10 s; it is announced all the same")
            }
            // Looked for: another process writes that file, and the agent that does may end meanwhile.
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func serve(_ configuration: AgentConfiguration, logger: Logger) async throws {
        OpenFiles.takeAll()
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
