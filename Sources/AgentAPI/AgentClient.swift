import AsyncHTTPClient
package import Fleet
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOPosix
import NIOSSL

/// One host's agent over HTTPS.
///
/// A connection that turns out to be dead is replaced once by itself: orders are *ensure* calls, so that giving one twice does no harm.
package struct AgentClient: AgentOrders {
    /// The agent's address: `https://10.0.0.1:7070`.
    package let url: String
    private let http: HTTPClient
    private let version: Int
    /// Of the certificates that this side shows.
    private let ends: [CertificateEnd]

    init(url: String, http: HTTPClient, version: Int, ends: [CertificateEnd]) {
        self.version = version
        self.ends = ends
        self.url = url.hasSuffix("/") ? String(url.dropLast()) : url
        self.http = http
    }

    /// For what QEMU or the disk answers at once.
    private static let quick = Duration.seconds(20)
    /// For orders that make disks or start a QEMU.
    private static let slow = Duration.seconds(60)
    /// For a define, which may copy whole images.
    private static let copying = Duration.seconds(3600)

    package func host() async throws -> HostFacts {
        try await call(.GET, "/v1/host", within: Self.quick)
    }

    package func inventory() async throws -> Inventory {
        try await call(.GET, "/v1/inventory", within: Self.quick)
    }

    package func clear(_ server: ServerID, _ order: ClearOrder) async throws {
        let _: Nothing = try await call(.POST, path(server, "clear"), order, within: Self.slow)
    }

    package func obeyGuard(_ order: GuardOrder) async throws -> GuardReport {
        try await call(.PUT, "/v1/host/guard", order, within: Self.quick)
    }

    package func guest(_ server: ServerID) async throws -> GuestReport {
        try await call(.GET, path(server), within: Self.quick)
    }

    package func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport {
        try await call(.POST, path(server, "measure"), order, within: Self.quick)
    }

    package func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport {
        try await call(.GET, path(server, "cpu-features"), within: Self.quick)
    }

    package func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport {
        try await call(.POST, "/v1/host/cpu-check", order, within: Self.quick)
    }

    package func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace {
        try await call(.POST, "/v1/host/rehearsals", order, within: Self.quick)
    }

    package func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport {
        try await call(.POST, path(server, "rehearse"), order, within: Self.slow)
    }

    package func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport {
        try await call(.PUT, path(server), order, within: order.images.isEmpty && order.bases.isEmpty ? Self.slow : Self.copying)
    }

    package func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport {
        try await call(.POST, path(server, "start"), order, within: Self.slow)
    }

    package func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport {
        try await call(.POST, path(server, "stop"), order, within: Self.slow + .milliseconds(order.graceMS))
    }

    package func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport {
        try await call(.POST, path(server, "pause"), order, within: Self.slow)
    }

    package func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport {
        try await call(.POST, path(server, "cdrom"), order, within: Self.slow)
    }

    package func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds {
        try await call(.POST, "/v1/bases/missing", needs, within: Self.slow)
    }

    package func delete(_ server: ServerID, _ order: DeleteOrder) async throws {
        let _: Nothing = try await call(.POST, path(server, "delete"), order, within: Self.slow)
    }

    package func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport {
        try await call(.PUT, path(server, "incoming"), order, within: Self.slow)
    }

    package func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport {
        try await call(.PUT, path(server, "outgoing/disks"), order, within: Self.quick)
    }

    package func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport {
        try await call(.PUT, path(server, "outgoing/memory"), order, within: Self.quick)
    }

    package func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport {
        try await call(.POST, path(server, "outgoing/abort"), order, within: Self.slow)
    }

    package func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport {
        try await call(.POST, path(server, "incoming/handover"), order, within: Self.quick)
    }

    package func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport {
        try await call(.POST, path(server, "incoming/refuse"), order, within: Self.slow)
    }

    @discardableResult
    package func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport {
        try await call(.POST, path(server, "discard"), order, within: Self.slow)
    }

    package func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport {
        try await call(.POST, path(server, "shared"), order, within: Self.quick)
    }

    package func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport {
        try await call(.PUT, path(server, "adopted"), order, within: Self.slow)
    }

    package func deleteKept(_ id: String) async throws {
        let _: Nothing = try await call(.DELETE, "/v1/kept/\(escaped(id))", within: Self.slow)
    }

    package func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport {
        try await call(.PUT, path(server, "loan"), order, within: Self.slow)
    }

    package func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport {
        try await call(.POST, path(server, "loan/yield"), order, within: Self.slow)
    }

    package func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport {
        try await call(.POST, path(server, "loan/return"), order, within: Self.slow)
    }

    package func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport {
        try await call(.PUT, path(server, "receipt"), order, within: Self.slow)
    }

    package func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport {
        try await call(.GET, path(server, "loan") + query(key, 0, 0), within: Self.quick)
    }

    package func digests(_ server: ServerID, _ order: DigestOrder) async throws -> DigestReport {
        try await call(.POST, path(server, "loan/digests"), order, within: Self.slow)
    }

    package func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        try await call(.GET, path(server, "outgoing") + query(key, seen, waitMS), within: .milliseconds(waitMS) + .seconds(5))
    }

    package func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        try await call(.GET, path(server, "incoming") + query(key, seen, waitMS), within: .milliseconds(waitMS) + .seconds(5))
    }

    private func path(_ server: ServerID, _ rest: String? = nil) -> String {
        "/v1/guests/\(escaped(server.value))" + (rest.map { "/\($0)" } ?? "")
    }

    private func query(_ key: AttemptKey, _ seen: Int64, _ waitMS: Int64) -> String {
        "?migration=\(escaped(key.migration.value))&attempt=\(key.attempt)&seen=\(seen)&wait_ms=\(waitMS)"
    }

    private func escaped(_ text: String) -> String {
        var allowed = CharacterSet.alphanumerics
        allowed.insert(charactersIn: "-._~")
        return text.addingPercentEncoding(withAllowedCharacters: allowed) ?? text
    }

    /// The answer of an order that has nothing to tell.
    private struct Nothing: Decodable {}

    private func call<Reply: Decodable>(
        _ method: HTTPMethod, _ path: String, _ order: (any Encodable)? = nil, within deadline: Duration
    ) async throws -> Reply {
        var request = HTTPClientRequest(url: url + path)
        request.method = method
        request.headers.add(name: AgentVersion.header, value: String(version))
        if let order {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(data: try JSONEncoder().encode(order)))
        }
        let end = NIODeadline.now() + .milliseconds(deadline.inMilliseconds)
        let (status, said, body) = try await exchange(request, until: end)
        try AgentVersion.require(said, of: "the agent at \(url)", own: version)
        if (200..<300).contains(status) {
            do {
                return try JSONDecoder().decode(Reply.self, from: body)
            } catch {
                throw AgentProblem(
                    .failed, .agentError, "the agent at \(url) answered \(method.rawValue) \(path) in an unknown shape: \(error)")
            }
        }
        if let problem = try? JSONDecoder().decode(AgentProblem.self, from: body) { throw problem }
        throw AgentProblem(.failed, .agentError, "the agent at \(url) answered \(method.rawValue) \(path) with status \(status)")
    }

    private func exchange(_ request: HTTPClientRequest, until end: NIODeadline) async throws -> (
        status: UInt, version: String?, body: ByteBuffer
    ) {
        var isRepeated = false
        while true {
            do {
                let response = try await http.execute(request, deadline: end)
                let version = response.headers.first(name: AgentVersion.header)
                return (response.status.code, version, try await response.body.collect(upTo: 16 << 20))
            } catch is CancellationError {
                throw CancellationError()
            } catch let error as HTTPClientError where error == .cancelled {
                throw CancellationError()
            } catch let error as HTTPClientError where error == .remoteConnectionClosed && !isRepeated {
                isRepeated = true
            } catch {
                let isUntrusted = Self.isUntrusted(error)
                var obstacle = Self.obstacle(error)
                if isUntrusted, let ended = ends.first(where: { $0.end < .now }) {
                    obstacle =
                        "does not trust us: the certificate \(ended.path) has ended on \(ended.end); issue it anew with `godwit ca-issue`"
                }
                throw AgentProblem(.unreachable, isUntrusted ? .tlsRefused : "unreachable", "the agent at \(url) \(obstacle)")
            }
        }
    }

    /// A peer that refuses another's certificate says so by an alert; one that ends in the middle of the handshake was ended.
    private static func isUntrusted(_ error: any Error) -> Bool {
        switch error {
        case NIOSSLError.uncleanShutdown, NIOSSLError.handshakeFailed(.syscallError), NIOSSLError.handshakeFailed(.zeroReturn),
            BoringSSLError.syscallError, BoringSSLError.zeroReturn:
            false
        case NIOSSLError.handshakeFailed(.sslError(let stack)), BoringSSLError.sslError(let stack):
            !stack.contains { $0 == .eofDuringHandshake || $0 == .eofDuringAdditionalCertficiateChainValidation }
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: true
        default: false
        }
    }

    /// What stands between us and the agent, and what to do about it; completes *the agent …*.
    private static func obstacle(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError where error == .connectTimeout:
            "took no connection within \(AgentPool.connectTimeout): see whether the host is up, its godwit-agent runs, and the network between is whole"
        case let error as HTTPClientError where error == .deadlineExceeded || error == .readTimeout:
            "took the connection and gave no answer in time: see whether its host hangs, or the network between was cut"
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            "closed the connection: see whether its godwit-agent was just started anew"
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first?.error { obstacle(first) } else { "cannot be found: no such name" }
        case let error as IOError:
            "cannot be reached (\(String(cString: strerror(error.errnoCode)))): see whether the host is up and its godwit-agent runs"
        case let error where isUntrusted(error):
            "is not trusted, or does not trust us (\(error)): both certificates must come from this fleet's authority and not have ended, and the agent's must bear that address: issue it anew with `godwit ca-issue`"
        case is NIOSSLError, is BoringSSLError:
            "broke the connection off (\(error)): see whether its godwit-agent was just started anew, or the network was cut"
        default: "cannot be reached (\(error)): see whether the host is up and its godwit-agent runs"
        }
    }
}

/// Clients for all agents over one pool of connections, which are kept and used again: in a switchover no handshake may be waited for.
package final class AgentPool: AgentDirectory {
    private let http: HTTPClient
    private let version: Int
    private let ends: [CertificateEnd]
    static let connectTimeout = Duration.seconds(3)

    /// - Parameter version: of the agents' interface, as this side has it.
    /// - Throws: when a certificate or the key cannot be read.
    package init(tls: MutualTLS, version: Int = AgentVersion.current) throws {
        self.version = version
        self.ends = try tls.ends()
        var configuration = HTTPClient.Configuration(tlsConfiguration: try tls.client())
        configuration.httpVersion = .http1Only
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .nanoseconds(Self.connectTimeout.inMilliseconds * 1_000_000)
        configuration.connectionPool.idleTimeout = .seconds(300)
        // Every long poll holds one.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 512
        configuration.connectionPool.retryConnectionEstablishment = false
        self.http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    package func agent(of host: Fleet.Host) -> any AgentOrders { agent(at: host.agentURL) }

    package func agent(at url: String) -> AgentClient { AgentClient(url: url, http: http, version: version, ends: ends) }

    /// To be called once, when no call is under way and before the last reference goes.
    package func shutdown() async throws {
        try await http.shutdown()
    }
}
