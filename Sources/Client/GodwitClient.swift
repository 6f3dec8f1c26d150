import AsyncHTTPClient
package import Fleet
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOPosix
import NIOSSL

/// A client of the controller's API.
///
/// Servers and hosts are named by id or name, migrations by id or its unique beginning. Every method throws ``ClientError``.
/// Must be shut down when done with; ``with(url:token:caFile:_:)`` does both.
package struct GodwitClient: Sendable {
    /// Without a slash at its end.
    let base: String
    let token: String
    private let requests: HTTPClient
    /// Has a read timeout: the controller says something at least every few seconds while events are awaited.
    let streams: HTTPClient

    /// How long an answer that only reads or records may take.
    package static let ordinaryDeadline = Duration.seconds(30)
    /// How long an answer may take that a host works for: starting, stopping, deleting a guest.
    package static let operationDeadline = Duration.seconds(900)
    /// How long a server's creation may take, which may copy whole images.
    package static let creationDeadline = Duration.seconds(3660)
    /// Silence on an event stream after which it counts as broken.
    static let streamSilence = Duration.seconds(15)

    /// - Parameters:
    ///   - url: The controller's address, `https://127.0.0.1:7000`.
    ///   - token: The bearer token.
    ///   - caFile: PEM of the certificate authority that the controller's certificate is of; the system's when nil.
    /// - Throws: ``ClientError`` `configuration` when the address is none or the file cannot be read.
    package init(url: String, token: String, caFile: String? = nil) throws {
        var base = url
        while base.hasSuffix("/") { base.removeLast() }
        guard let parsed = URL(string: base), let scheme = parsed.scheme, ["https", "http"].contains(scheme), parsed.host != nil else {
            throw ClientError(.configuration, "“\(url)” is no address of a controller; give one such as https://127.0.0.1:7000.")
        }
        // A header must not be breakable by what a file or a shell variable held.
        guard token.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw ClientError(.configuration, "The token holds a blank or a character that no token has; give it without line breaks.")
        }
        self.base = base
        self.token = token
        var tls = TLSConfiguration.makeClientConfiguration()
        // Who gives a request up does not wait for a busy controller to agree to the closing of TLS.
        tls.shutdownTimeout = .milliseconds(250)
        if let caFile {
            do {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(caFile))
            } catch {
                throw ClientError(
                    .configuration, "The CA file \(caFile) cannot be read as PEM; give the one of the controller's authority.", cause: error
                )
            }
        }
        var configuration = HTTPClient.Configuration(tlsConfiguration: tls, redirectConfiguration: .disallow)
        configuration.timeout.connect = .seconds(5)
        // A controller that is not there is told at once; who wants to wait for it asks again.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        self.requests = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        configuration.timeout.read = .milliseconds(Self.streamSilence.inMilliseconds)
        self.streams = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    package func shutdown() async throws {
        try await requests.shutdown()
        try await streams.shutdown()
    }

    /// Runs the body with a client and shuts that down after it.
    package static func with<T: Sendable>(
        url: String, token: String, caFile: String? = nil, _ body: (GodwitClient) async throws -> T
    ) async throws -> T {
        let client = try GodwitClient(url: url, token: token, caFile: caFile)
        let result: T
        do {
            result = try await body(client)
        } catch {
            try await client.shutdown()
            throw error
        }
        try await client.shutdown()
        return result
    }
}

// MARK: servers

extension GodwitClient {
    /// All of them, newest first, unless the query says otherwise.
    package func servers(
        _ query: ListQuery = ListQuery(), host: String? = nil, status: ShownStatus? = nil
    ) async throws -> Page<ServerView> {
        try await get("/v1/servers", query.parameters + [("host", host), ("status", status?.rawValue)])
    }

    package func server(_ reference: String) async throws -> ServerView {
        try await get("/v1/servers/\(escaped(reference))")
    }

    /// Answers when the server is defined on its host, disks made.
    package func createServer(_ request: CreateServerRequest) async throws -> ServerView {
        try await send(.POST, "/v1/servers", body: request, deadline: Self.creationDeadline)
    }

    /// Answers when nothing of the server is left on its host.
    package func deleteServer(_ reference: String) async throws {
        _ = try await perform(.DELETE, "/v1/servers/\(escaped(reference))", body: nil, deadline: Self.operationDeadline)
    }

    /// Answers when the guest runs.
    package func startServer(_ reference: String) async throws -> ServerView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/start", body: Nothing(), deadline: Self.operationDeadline)
    }

    /// Answers when the guest is off.
    package func stopServer(_ reference: String, _ request: StopServerRequest = StopServerRequest()) async throws -> ServerView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/stop", body: request, deadline: Self.operationDeadline)
    }

    /// Answers when the guest's vCPUs stand still.
    package func suspendServer(_ reference: String) async throws -> ServerView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/suspend", body: Nothing(), deadline: Self.operationDeadline)
    }

    /// Answers when they execute again.
    package func resumeServer(_ reference: String) async throws -> ServerView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/resume", body: Nothing(), deadline: Self.operationDeadline)
    }

    /// Answers with the accepted migration, `pending`; follow it with ``watchMigration(_:reconnectingFor:)``.
    package func liveMigrate(_ reference: String, _ request: LiveMigrateRequest = LiveMigrateRequest()) async throws -> MigrationView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/live-migrate", body: request)
    }

    /// Answers with the accepted cold migration or rescue, `pending`.
    package func migrate(_ reference: String, _ request: MigrateRequest = MigrateRequest()) async throws -> MigrationView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/migrate", body: request)
    }

    /// Asks the server's live migration to end. Answers at once with it as it is now; it is over when it is `failed` (`cancelled`).
    package func cancelLiveMigrate(_ reference: String) async throws -> MigrationView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/cancel-live-migrate", body: Nothing())
    }

    /// Changes the server's live migration in flight.
    package func setLiveMigrateParams(_ reference: String, _ request: SetLiveMigrateParamsRequest) async throws -> MigrationView {
        try await send(.POST, "/v1/servers/\(escaped(reference))/set-live-migrate-params", body: request)
    }
}

// MARK: hosts

extension GodwitClient {
    /// All of them by name, unless the query says otherwise.
    package func hosts(
        _ query: ListQuery = ListQuery(), status: HostView.Status? = nil, hypervisor: String? = nil
    ) async throws -> Page<HostView> {
        try await get("/v1/hosts", query.parameters + [("host_status", status?.rawValue), ("hypervisor", hypervisor)])
    }

    package func host(_ reference: String) async throws -> HostView {
        try await get("/v1/hosts/\(escaped(reference))")
    }

    /// Adds a host, or moves the host of that name to another agent address.
    package func registerHost(_ request: RegisterHostRequest) async throws -> HostView {
        try await send(.POST, "/v1/hosts", body: request)
    }

    package func enableHost(_ reference: String) async throws -> HostView {
        try await send(.POST, "/v1/hosts/\(escaped(reference))/enable", body: Nothing())
    }

    /// Nothing new is placed there from now on.
    package func disableHost(_ reference: String) async throws -> HostView {
        try await send(.POST, "/v1/hosts/\(escaped(reference))/disable", body: Nothing())
    }
}

// MARK: migrations

/// Which migrations a list shows, newest first.
package struct MigrationQuery: Hashable, Sendable {
    /// Id or name.
    package var server: String?
    /// Id or name, as source or target.
    package var host: String?
    /// Id or name.
    package var batch: String?
    package var states: [MigrationState]
    package var modes: [Mode]
    /// Codes of the reasons that they have.
    package var reasons: [String]
    /// Who submitted them.
    package var actor: String?
    /// Submitted from then on, and before then.
    package var since: WireTime?
    package var until: WireTime?
    /// 20 when its limit is nil, at most ``ListQuery/most``; ordered by `created_at`, or by `finished_at` those that have ended.
    package var list: ListQuery
    /// ``Page/next`` of the page before.
    package var before: String?

    package init(
        server: String? = nil, host: String? = nil, batch: String? = nil, states: [MigrationState] = [], modes: [Mode] = [],
        reasons: [String] = [], actor: String? = nil, since: WireTime? = nil, until: WireTime? = nil, limit: Int? = nil,
        list: ListQuery = ListQuery(), before: String? = nil
    ) {
        self.server = server
        self.host = host
        self.batch = batch
        self.states = states
        self.modes = modes
        self.reasons = reasons
        self.actor = actor
        self.since = since
        self.until = until
        self.list = list
        if let limit { self.list.limit = limit }
        self.before = before
    }
}

extension GodwitClient {
    package func migrations(_ query: MigrationQuery = MigrationQuery()) async throws -> Page<MigrationView> {
        func words(_ values: [String]) -> String? { values.isEmpty ? nil : values.joined(separator: ",") }
        return try await get(
            "/v1/migrations",
            query.list.parameters + [
                ("server", query.server), ("host", query.host), ("batch", query.batch), ("state", words(query.states.map(\.rawValue))),
                ("mode", words(query.modes.map(\.rawValue))), ("reason", words(query.reasons)), ("actor", query.actor),
                ("since", query.since?.description), ("until", query.until?.description), ("before", query.before),
            ])
    }

    /// Asks for its end. Answers at once with it as it is now; it is over when it is `failed` (`cancelled`), or `ready` where that came too late.
    package func cancelMigration(_ reference: String) async throws -> MigrationView {
        try await send(.POST, "/v1/migrations/\(escaped(reference))/cancel", body: Nothing())
    }

    package func migration(_ reference: String) async throws -> MigrationView {
        try await get("/v1/migrations/\(escaped(reference))")
    }

    /// A migration's story, oldest first.
    package func history(of reference: String) async throws -> Page<TransitionView> {
        try await get("/v1/migrations/\(escaped(reference))/history")
    }

    /// The migration as it is now and then each time it moved, up to and with its end (`ready` or `failed`).
    ///
    /// A broken connection, such as by a controller that restarts, is made again for as long as `reconnectingFor` since it last worked;
    /// after that the sequence throws ``ClientError`` `unreachable`.
    package func watchMigration(_ reference: String, reconnectingFor patience: Duration = .seconds(60)) -> MigrationEvents {
        MigrationEvents(client: self, path: "/v1/migrations/\(escaped(reference))/events", patience: patience)
    }

    package func cleanups() async throws -> Page<CleanupView> {
        try await get("/v1/cleanups")
    }

    /// Whether the controller is up; needs no token.
    package func health() async throws -> HealthView {
        try await get("/healthz")
    }
}

// MARK: requests

extension ListQuery {
    /// As the API takes it.
    var parameters: [(name: String, value: String?)] {
        let filters = filters.map { (name: "filter", value: Optional($0)) }
        return [
            ("limit", limit.map(String.init)), ("offset", offset.map(String.init)),
            ("order_by", orderBy.isEmpty ? nil : orderBy.joined(separator: ",")), ("order", order?.rawValue),
            ("filter_any", filterAny ? "true" : nil), ("search", search),
        ] + filters
    }
}

/// The body `{}`.
struct Nothing: Encodable {}

extension GodwitClient {
    func get<Answer: Decodable>(
        _ path: String, _ query: [(name: String, value: String?)] = [], deadline: Duration = GodwitClient.ordinaryDeadline
    ) async throws -> Answer {
        let pairs = query.compactMap { name, value in value.map { "\(name)=\(escaped($0))" } }
        let target = pairs.isEmpty ? path : "\(path)?\(pairs.joined(separator: "&"))"
        return try decode(try await perform(.GET, target, body: nil, deadline: deadline), of: target)
    }

    func send<Answer: Decodable>(
        _ method: HTTPMethod, _ path: String, body: some Encodable, deadline: Duration = GodwitClient.ordinaryDeadline
    ) async throws -> Answer {
        let bytes: Data
        do {
            bytes = try JSONEncoder().encode(body)
        } catch {
            throw ClientError(.configuration, "The request to \(base)\(path) cannot be written as JSON.", cause: error)
        }
        return try decode(try await perform(method, path, body: bytes, deadline: deadline), of: path)
    }

    func perform(_ method: HTTPMethod, _ path: String, body: Data?, deadline: Duration) async throws -> ByteBuffer {
        var request = request(method, path)
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(body)
        }
        do {
            let response = try await requests.execute(request, timeout: .milliseconds(deadline.inMilliseconds))
            let answer = try await response.body.collect(upTo: 64 << 20)
            guard (200..<300).contains(response.status.code) else { throw problem(response.status, answer) }
            return answer
        } catch {
            throw translated(error, deadline: deadline)
        }
    }

    func request(_ method: HTTPMethod, _ path: String) -> HTTPClientRequest {
        var request = HTTPClientRequest(url: base + path)
        request.method = method
        request.headers.add(name: "authorization", value: "Bearer \(token)")
        request.headers.add(name: "user-agent", value: "godwit")
        return request
    }

    private func decode<Answer: Decodable>(_ answer: ByteBuffer, of path: String) throws -> Answer {
        do {
            return try JSONDecoder().decode(Answer.self, from: answer)
        } catch {
            throw ClientError(
                .unexpectedAnswer,
                "What \(base)\(path) answered is not what this version of godwit reads; use the controller's own version.",
                cause: error)
        }
    }

    func problem(_ status: HTTPResponseStatus, _ body: ByteBuffer) -> ClientError {
        if let problem = try? JSONDecoder().decode(Problem.self, from: body) { return ClientError(problem) }
        return ClientError(
            .unexpectedAnswer, "\(base) answered \(status.code) \(status.reasonPhrase) and no reason; it may not be a Godwit controller.")
    }

    func translated(_ error: any Error, deadline: Duration) -> any Error {
        switch error {
        case is ClientError, is CancellationError:
            return error
        case let error as HTTPClientError where error == .deadlineExceeded || error == .readTimeout:
            return ClientError(
                .deadline,
                "The controller at \(base) gave no answer within \(deadline.components.seconds) s; what was asked may still be under way.",
                cause: error)
        case let error as HTTPClientError where error == .cancelled:
            return CancellationError()
        case let error as NIOSSLError:
            return untrusted(error)
        case let error as NIOSSLExtraError:
            return untrusted(error)
        default:
            return ClientError(
                .unreachable,
                "The controller at \(base) cannot be reached (\(reason(error))); check the address and that godwit-controller runs there.",
                cause: error)
        }
    }

    private func untrusted(_ error: any Error) -> ClientError {
        ClientError(
            .unreachable,
            "The controller at \(base) could not prove who it is (\(error)); give the CA file of its authority and the name in its certificate.",
            cause: error)
    }

    /// The first cause in words, without the types that wrap it.
    private func reason(_ error: any Error) -> String {
        switch error {
        case let error as NIOConnectionError:
            if let first = error.connectionErrors.first?.error { return self.reason(first) }
            return "host \(error.host) is not known"
        case let error as IOError:
            return String(cString: strerror(error.errnoCode))
        case let error as HTTPClientError where error == .connectTimeout:
            return "no connection in time"
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            return "it closed the connection"
        default:
            return "\(error)"
        }
    }

    /// As one segment of a path or one value of a query (RFC 3986, unreserved characters).
    func escaped(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
                String(UnicodeScalar(byte))
            default:
                "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }.joined()
    }
}
