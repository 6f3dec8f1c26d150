import AgentAPI
import ArgumentParser
import Client
import Controller
import Databases
import Fleet
import Foundation
import Logging
import NIOCore
import NIOSSL
import SQL
import ServiceLifecycle
import Store
import UnixSignals

/// `godwit-controller`: parses, wires up, runs.
@main
struct ControllerCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-controller",
        abstract: "Serves Godwit's API and watches over its hosts. Keeps nothing: all state is in the store.")

    @Option(help: ArgumentHelp(DatabaseLocation.help))
    var store: String

    @Option(help: "Address and port to listen on; port 0 has the kernel choose one.")
    var listen = "127.0.0.1:7000"

    @Option(help: "PEM file of the certificate that the API shows, followed by its chain.")
    var tlsCert: String

    @Option(help: "PEM file of that certificate's key.")
    var tlsKey: String

    @Option(help: "PEM file of the authority that agents' certificates are of.")
    var ca: String

    @Option(help: "PEM file of the certificate shown to agents.")
    var cert: String

    @Option(help: "PEM file of that certificate's key.")
    var key: String

    @Option(help: "File of the tokens that are let in: one a line, after its owner's name if it has one.")
    var tokenFile: String

    @Option(help: "The controller's name.")
    var name = "controller"

    @Option(
        help: ArgumentHelp(
            "Seconds, 5 to 3600, after which a host's guard ends its guests on shared storage when no controller has heard of the host, for hosts with auto-migrate-on-host-down.",
            valueName: "seconds"))
    var hostLease: Int64 = GuardTiming.standardLeaseMS / 1000

    @Option(
        help: ArgumentHelp(
            "When more than this share of the hosts, in percent, and at least three, are down at once, nothing is started elsewhere.",
            valueName: "percent"))
    var suspiciousShare = 33

    mutating func validate() throws {
        guard GuardTiming.leaseMS.contains(hostLease.multipliedReportingOverflow(by: 1000).partialValue), hostLease <= 3600 else {
            throw ValidationError("--host-lease is \(hostLease); give 5 to 3600 seconds.")
        }
        guard (1...100).contains(suspiciousShare) else {
            throw ValidationError("--suspicious-share is \(suspiciousShare); give 1 to 100 percent.")
        }
        _ = try address()
        _ = try location()
    }

    func run() async throws {
        LoggingSystem.bootstrap { StreamLogHandler.standardError(label: $0) }
        do {
            try await serve()
        } catch {
            // One sentence; what led to it belongs to the log of whoever looks closer.
            FileHandle.standardError.write(Data("godwit-controller: \(sentence(error))\n".utf8))
            throw ExitCode(1)
        }
    }

    private func serve() async throws {
        OpenFiles.takeAll()
        let log = Logger(label: "controller")
        let (host, port) = try address()
        let location = try location()
        let tokens = try BearerTokens(text: try text(of: tokenFile))
        let tls = try certificate()
        try readable(ca, "authority")
        try readable(cert, "agent certificate")
        let identity = MutualTLS(authorityPath: ca, certificatePath: cert, keyPath: key)
        let pool = try AgentPool(tls: identity)
        do {
            let store = try await Store.open { try await location.open() }
            do {
                let controller = Controller(
                    store: store, agents: pool,
                    configuration: Controller.Configuration(
                        name: name, host: host, port: port, tls: tls, tokens: tokens, watch: HostWatch.Timing(lease: .seconds(hostLease)),
                        down: HostDown.Timing(suspiciousPercent: suspiciousShare), identity: identity, tlsPath: tlsCert), log: log)
                var configuration = ServiceGroupConfiguration(
                    services: try controller.services { url in
                        FileHandle.standardOutput.write(Data("listening \(url)\n".utf8))
                    }, gracefulShutdownSignals: [.sigterm, .sigint], logger: log)
                configuration.maximumGracefulShutdownDuration = .seconds(10)
                try await ServiceGroup(configuration: configuration).run()
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

    private func address() throws -> (host: String, port: Int) {
        guard let colon = listen.lastIndex(of: ":"), let port = Int(listen[listen.index(after: colon)...]), (0...65535).contains(port),
            colon != listen.startIndex
        else {
            throw ValidationError("--listen is “\(listen)”; give an address and a port, such as 127.0.0.1:7000.")
        }
        var host = listen[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        return (String(host), port)
    }

    private func location() throws -> DatabaseLocation {
        do {
            return try DatabaseLocation(store)
        } catch {
            throw ValidationError("--store \(error.message).")
        }
    }

    /// Without a password that its string may hold.
    private var shownStore: String { (try? DatabaseLocation(store))?.description ?? "the store" }

    /// What the database itself said.
    private static func cause(_ error: StoreError) -> String {
        (error.cause as? SQLError).map { " (\($0.message))" } ?? ""
    }

    private func text(of file: String) throws -> String {
        do {
            return try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw ValidationError("The token file \(file) cannot be read; create it with one long random word.")
        }
    }

    private func certificate() throws -> TLSConfiguration {
        do {
            var tls = TLSConfiguration.makeServerConfiguration(
                certificateChain: try NIOSSLCertificate.fromPEMFile(tlsCert).map { .certificate($0) },
                privateKey: .privateKey(try NIOSSLPrivateKey(file: tlsKey, format: .pem)))
            tls.minimumTLSVersion = .tlsv12
            return tls
        } catch {
            throw ValidationError("The certificate \(tlsCert) and its key \(tlsKey) cannot be read as PEM.")
        }
    }

    /// Some of them would be read at the first connection only, far from where the mistake was made.
    private func readable(_ file: String, _ what: String) throws {
        do {
            _ = try NIOSSLCertificate.fromPEMFile(file)
        } catch {
            throw ValidationError("The \(what) \(file) cannot be read as PEM.")
        }
    }

    private func sentence(_ error: any Error) -> String {
        switch error {
        case let error as StoreError: "The store \(shownStore) cannot be used. \(error.message)\(Self.cause(error))"
        case let error as ValidationError: error.message
        case let error as Problem: error.detail
        case let error as IOError:
            "The address \(listen) cannot be listened on: \(String(cString: strerror(error.errnoCode))). Choose another, or end what listens there."
        default: "\(error)"
        }
    }
}
