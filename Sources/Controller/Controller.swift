package import AgentAPI
import Fleet
package import Hummingbird
import HummingbirdTLS
package import Logging
import NIOCore
package import NIOSSL
package import ServiceLifecycle
package import Store

/// A controller, wired up: the API over HTTPS, the watch over hosts, and the seeing-through of operations. It keeps nothing of its own,
/// so that any number of them may share one store.
package struct Controller: Sendable {
    package struct Configuration: Sendable {
        package var name: String
        /// Address to listen on.
        package var host: String
        /// 0 has the kernel choose one.
        package var port: Int
        /// The API's own certificate; plain HTTP without one, which only tests want.
        package var tls: TLSConfiguration?
        package var tokens: BearerTokens
        package var operations: Operations.Timing
        package var watch: HostWatch.Timing
        package var down: HostDown.Timing
        package var doctor: Doctor.Timing
        /// By which it asks agents; nil in tests that have none.
        package var identity: MutualTLS?
        /// File of the API's own certificate, whose end `doctor` tells; nil without one.
        package var tlsPath: String?

        package init(
            name: String, host: String, port: Int, tls: TLSConfiguration?, tokens: BearerTokens,
            operations: Operations.Timing = Operations.Timing(), watch: HostWatch.Timing = HostWatch.Timing(),
            down: HostDown.Timing = HostDown.Timing(), doctor: Doctor.Timing = Doctor.Timing(), identity: MutualTLS? = nil,
            tlsPath: String? = nil
        ) {
            self.name = name
            self.host = host
            self.port = port
            self.tls = tls
            self.tokens = tokens
            self.operations = operations
            self.watch = watch
            self.down = down
            self.doctor = doctor
            self.identity = identity
            self.tlsPath = tlsPath
        }
    }

    package let api: API
    package let operations: Operations
    package let watch: HostWatch
    package let down: HostDown
    private let configuration: Configuration
    private let log: Logger

    package init(store: Store, agents: any AgentDirectory, configuration: Configuration, log: Logger) {
        self.operations = Operations(store: store, agents: agents, name: configuration.name, log: log, timing: configuration.operations)
        self.watch = HostWatch(store: store, agents: agents, log: log, timing: configuration.watch)
        self.down = HostDown(store: store, watch: watch, log: log, timing: configuration.down)
        let doctor = Doctor(
            store: store, agents: agents, certificates: { try configuration.certificateEnds() }, timing: configuration.doctor)
        self.api = API(
            name: configuration.name, store: store, agents: agents, operations: operations, tokens: configuration.tokens, doctor: doctor)
        self.configuration = configuration
        self.log = log
    }

    /// The API as an application that listens.
    ///
    /// - Parameter listening: Called once with the address that it listens on, `https://127.0.0.1:7000`.
    /// - Throws: when the certificate and its key do not fit each other.
    package func application(listening: @escaping @Sendable (String) -> Void) throws -> some ApplicationProtocol {
        let scheme = configuration.tls == nil ? "http" : "https"
        let host = configuration.host
        let tls = configuration.tls.map { given in
            var tls = given
            // A client that does not answer the closing of TLS would hold up the end of this process for 5 s.
            tls.shutdownTimeout = .milliseconds(250)
            return tls
        }
        // Who asks nothing for so long is gone, or never was anybody. One whose answer is under way, such as events, stays.
        let idle = TimeAmount.seconds(120)
        return Application(
            router: api.router(),
            server: try tls.map { try .tls(.http1(configuration: .init(idleTimeout: idle)), tlsConfiguration: $0) }
                ?? .http1(configuration: .init(idleTimeout: idle)),
            configuration: ApplicationConfiguration(address: .hostname(host, port: configuration.port), serverName: "godwit"),
            onServerRunning: { channel in
                let shown = host.contains(":") ? "[\(host)]" : host
                listening("\(scheme)://\(shown):\(channel.localAddress?.port ?? 0)")
            }, logger: log)
    }

    /// Everything that runs, in the order of its start. Stopped in the opposite order: first no request is taken any more.
    package func services(listening: @escaping @Sendable (String) -> Void) throws -> [any Service] {
        [watch, down, operations, try application(listening: listening)]
    }
}

extension Controller.Configuration {
    /// As they stand in their files now: what is renewed there is used from the next start on.
    fileprivate func certificateEnds() throws -> [CertificateEnd] {
        var ends = try identity?.ends() ?? []
        if let tlsPath, !ends.contains(where: { $0.path == tlsPath }), let end = try MutualTLS.end(of: tlsPath) {
            ends.append(CertificateEnd(kind: .own, path: tlsPath, end: end))
        }
        return ends
    }
}
