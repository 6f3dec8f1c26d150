import AgentAPI
import ArgumentParser
import Cold
import Databases
import Engine
import Foundation
import Live
import Logging
import Rescue
import SQL
import ServiceLifecycle
import Store
import UnixSignals

/// `godwit-worker`: parses, wires up, runs.
@main
struct WorkerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-worker",
        abstract: "Draws migrations from the store and carries them out. Keeps nothing: all state is in the store.",
        discussion:
            "Any number of workers share one store. One that is stopped or dies leaves no migration behind: the next goes on with it.")

    @Option(help: ArgumentHelp(DatabaseLocation.help))
    var store: String

    @Option(help: "The worker's name, by which the history knows it. No two workers of a store may have the same.")
    var name = "\(ProcessInfo.processInfo.hostName)-\(ProcessInfo.processInfo.processIdentifier)"

    @Option(help: "PEM file of the authority that agents' certificates are of.")
    var ca: String

    @Option(help: "PEM file of the certificate shown to agents.")
    var cert: String

    @Option(help: "PEM file of that certificate's key.")
    var key: String

    @Option(help: "How many migrations to run at the same time.")
    var concurrency = EngineSettings().concurrency

    @Option(help: "Milliseconds that a claim lasts unless renewed: how long it takes others to take over from a worker that died.")
    var leaseMs = EngineSettings().leaseMS

    @Option(help: "trace, debug, info, notice, warning, error or critical.")
    var logLevel = "info"

    mutating func validate() throws {
        _ = try location()
        _ = try level()
        if concurrency < 1 { throw ValidationError("--concurrency is \(concurrency); give 1 or more.") }
        if leaseMs < 500 { throw ValidationError("--lease-ms is \(leaseMs); give 500 or more, for a renewal must have time to arrive.") }
        if name.isEmpty { throw ValidationError("--name is empty; give the worker a name.") }
    }

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        do {
            try await work()
        } catch {
            // One sentence; what led to it belongs to the log of whoever looks closer.
            let sentence = (error as? StoreError).map { $0.message + Self.cause($0) } ?? "\(error)"
            FileHandle.standardError.write(Data("godwit-worker: \(sentence)\n".utf8))
            throw ExitCode(1)
        }
    }

    private func work() async throws {
        var log = Logger(label: "worker")
        log.logLevel = try level()
        log[metadataKey: "worker"] = "\(name)"
        let location = try location()
        let pool = try AgentPool(tls: MutualTLS(authorityPath: ca, certificatePath: cert, keyPath: key))
        do {
            let store = try await Store.open { try await location.open() }
            do {
                try await serve(store, pool, log)
            } catch {
                await store.database.close()
                throw error
            }
            await store.database.close()
        } catch {
            try await pool.shutdown()
            throw error
        }
        try await pool.shutdown()
    }

    private func serve(_ store: Store, _ pool: AgentPool, _ log: Logger) async throws {
        var settings = EngineSettings()
        settings.concurrency = concurrency
        settings.leaseMS = leaseMs
        let worker = Worker(
            store: store,
            plans: PlanCatalog([
                LivePlan.plan(store: store, agents: pool), ColdPlan.plan(store: store, agents: pool),
                RescuePlan.plan(store: store, agents: pool),
            ]),
            agents: pool, name: name,
            settings: settings, log: log)
        var configuration = ServiceGroupConfiguration(
            services: [WorkerService(worker: worker) { FileHandle.standardOutput.write(Data("ready \(name)\n".utf8)) }],
            gracefulShutdownSignals: [.sigterm, .sigint], logger: log)
        configuration.maximumGracefulShutdownDuration = .seconds(10)
        try await ServiceGroup(configuration: configuration).run()
    }

    private func location() throws -> DatabaseLocation {
        do {
            return try DatabaseLocation(store)
        } catch {
            throw ValidationError("--store \(error.message).")
        }
    }

    /// What the database itself said.
    private static func cause(_ error: StoreError) -> String {
        (error.cause as? SQLError).map { " (\($0.message))" } ?? ""
    }

    private func level() throws -> Logger.Level {
        guard let level = Logger.Level(rawValue: logLevel) else {
            let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
            throw ValidationError("--log-level is “\(logLevel)”; give one of \(known).")
        }
        return level
    }
}

/// The worker as a service: a graceful shutdown has it let go of what it holds.
struct WorkerService: Service {
    let worker: Worker
    let isReady: @Sendable () -> Void

    func run() async throws {
        let stop = Latch()
        await withGracefulShutdownHandler {
            isReady()
            await worker.run(until: stop)
        } onGracefulShutdown: {
            stop.set()
        }
    }
}
