package import Agent
import AgentAPI
import Failpoints
import Fleet
import Foundation
import HTTPTypes
package import Hummingbird
import HummingbirdTLS
package import Hypervisor
package import Logging
import NIOCore
import NIOFoundationCompat
import NIOSSL

/// The agent's API over HTTPS: it only reads requests, asks the agent, and writes answers.
package enum AgentServer {
    /// - Parameter listening: called with the address once it listens.
    package static func application(
        _ agent: HostAgent, configuration: AgentConfiguration, logger: Logger, listening: @escaping @Sendable (String) async -> Void
    ) throws -> some ApplicationProtocol {
        let listen = configuration.listen
        return Application(
            router: router(agent),
            // Longer than who asks keeps one that is idle: in a switchover no handshake may be waited for.
            server: try .tls(
                .http1(configuration: .init(idleTimeout: .seconds(600))), tlsConfiguration: configuration.tls.mutualTLS.server()),
            configuration: ApplicationConfiguration(address: .hostname(listen.address, port: listen.port), serverName: "godwit-agent"),
            onServerRunning: { channel in
                let address = AgentConfiguration.Listen(address: listen.address, port: channel.localAddress?.port ?? listen.port)
                await listening("https://\(address.authority)")
            }, logger: logger)
    }

    struct Context: RequestContext {
        var coreContext: CoreRequestContextStorage
        let channel: any Channel

        init(source: Source) {
            self.coreContext = CoreRequestContextStorage(source: source)
            self.channel = source.channel
        }

        /// - Throws: ``AgentProblem`` of kind `forbidden` when the certificate is none of Godwit's roles.
        func peer() async throws -> PeerIdentity {
            guard let certificate = try await channel.nioSSL_peerCertificate().get(), let peer = try PeerIdentity(certificate) else {
                throw AgentProblem(.forbidden, .invalidRequest, "the certificate shown names no worker, controller or agent")
            }
            return peer
        }
    }

    /// One request on its way through.
    private struct Call {
        let request: Request
        let context: Context
        let peer: PeerIdentity

        var server: ServerID {
            get throws { ServerID(try context.parameters.require("server")) }
        }

        func order<Order: Decodable>(_ type: Order.Type) async throws -> Order {
            let body = try await request.body.collect(upTo: 4 << 20)
            do {
                return try JSONDecoder().decode(type, from: body)
            } catch {
                throw AgentProblem(.invalid, .invalidRequest, "the order's body is not understood: \(error)")
            }
        }

        private func number(_ name: String) throws -> Int64 {
            let text = request.uri.queryParameters[Substring(name)].map(String.init) ?? "0"
            guard let number = Int64(text), number >= 0 else {
                throw AgentProblem(.invalid, .invalidRequest, "`\(name)` is \"\(text)\": give a number")
            }
            return number
        }

        var key: AttemptKey {
            get throws {
                guard let migration = request.uri.queryParameters["migration"] else {
                    throw AgentProblem(.invalid, .invalidRequest, "`migration` is missing")
                }
                return AttemptKey(migration: MigrationID(String(migration)), attempt: Int(try number("attempt")))
            }
        }

        var seen: Int64 { get throws { try number("seen") } }

        /// A minute at most, so that a client that left is noticed.
        var waitMS: Int64 { get throws { min(60_000, try number("wait_ms")) } }
    }

    private static func router(_ agent: HostAgent) -> Router<Context> {
        let router = Router(context: Context.self)
        router.get("/v1/host") { request, context in
            await answer(request, context) { _ in try await agent.host() }
        }
        router.get("/v1/inventory") { request, context in
            await obey(request, context) { _ in try await agent.inventory() }
        }
        router.put("/v1/host/guard") { request, context in
            await obey(request, context, .obeyGuard) { try await agent.obeyGuard($0.order(GuardOrder.self)) }
        }
        router.post("/v1/bases/missing") { request, context in
            await obey(request, context) { try await agent.missingBases($0.order(BaseNeeds.self)) }
        }
        router.delete("/v1/kept/:id") { request, context in
            await obey(request, context, .deleteKept) {
                try await agent.deleteKept($0.context.parameters.require("id"))
                return Nothing()
            }
        }
        router.post("/v1/host/cpu-check") { request, context in
            await obey(request, context) { try await agent.checkCPU($0.order(CPUCheckOrder.self)) }
        }
        router.post("/v1/host/rehearsals") { request, context in
            await obey(request, context) { try await agent.awaitRehearsal($0.order(RehearsalOrder.self)) }
        }
        let guest = router.group("/v1/guests/:server")
        guest.post("measure") { request, context in
            await obey(request, context) { try await agent.measure($0.server, $0.order(MeasureOrder.self)) }
        }
        guest.get("cpu-features") { request, context in
            await obey(request, context) { try await agent.cpuFeatures($0.server) }
        }
        guest.post("rehearse") { request, context in
            await obey(request, context) { try await agent.rehearse($0.server, $0.order(RehearseOrder.self)) }
        }
        guest.get { request, context in
            await answer(request, context) { try await agent.guest($0.server) }
        }
        guest.put { request, context in
            await obey(request, context, .define) { try await agent.define($0.server, $0.order(DefineOrder.self)) }
        }
        guest.post("start") { request, context in
            await obey(request, context, .start) { try await agent.start($0.server, $0.order(StartOrder.self)) }
        }
        guest.post("stop") { request, context in
            await obey(request, context, .stop) { try await agent.stop($0.server, $0.order(StopOrder.self)) }
        }
        guest.post("pause") { request, context in
            await obey(request, context, .pause) { try await agent.pause($0.server, $0.order(PauseOrder.self)) }
        }
        guest.post("cdrom") { request, context in
            await obey(request, context, .setCDROM) { try await agent.setCDROM($0.server, $0.order(CDROMOrder.self)) }
        }
        guest.post("delete") { request, context in
            await obey(request, context, .delete) {
                try await agent.delete($0.server, $0.order(DeleteOrder.self))
                return Nothing()
            }
        }
        guest.post("clear") { request, context in
            await obey(request, context) {
                try await agent.clear($0.server, $0.order(ClearOrder.self))
                return Nothing()
            }
        }
        guest.post("discard") { request, context in
            await obey(request, context, .discard) { try await agent.discard($0.server, $0.order(DiscardOrder.self)) }
        }
        guest.post("shared") { request, context in
            await obey(request, context, .prove) { try await agent.prove($0.server, $0.order(ProofOrder.self)) }
        }
        guest.put("adopted") { request, context in
            await obey(request, context, .adopt) { try await agent.adopt($0.server, $0.order(AdoptOrder.self)) }
        }
        routeOutgoing(guest.group("outgoing"), agent)
        routeIncoming(guest.group("incoming"), agent)
        routeLoan(guest.group("loan"), agent)
        guest.put("receipt") { request, context in
            await obey(request, context, .receive) { try await agent.receive($0.server, $0.order(ReceiveOrder.self)) }
        }
        return router
    }

    private static func routeOutgoing(_ routes: RouterGroup<Context>, _ agent: HostAgent) {
        routes.get { request, context in
            await answer(request, context) { try await agent.outgoing($0.server, $0.key, seen: $0.seen, waitMS: $0.waitMS) }
        }
        routes.put("disks") { request, context in
            await obey(request, context, .mirror) { try await agent.mirror($0.server, $0.order(MirrorOrder.self)) }
        }
        routes.put("memory") { request, context in
            await obey(request, context, .sendMemory) { try await agent.sendMemory($0.server, $0.order(MemoryOrder.self)) }
        }
        routes.post("abort") { request, context in
            await obey(request, context, .abort) { try await agent.abort($0.server, $0.order(AbortOrder.self)) }
        }
    }

    private static func routeLoan(_ routes: RouterGroup<Context>, _ agent: HostAgent) {
        routes.get { request, context in
            await answer(request, context) { try await agent.loan($0.server, $0.key) }
        }
        routes.put { request, context in
            await obey(request, context, .lend) { try await agent.lend($0.server, $0.order(LendOrder.self)) }
        }
        routes.post("yield") { request, context in
            await obey(request, context, .yield) { try await agent.yield($0.server, $0.order(YieldOrder.self)) }
        }
        routes.post("return") { request, context in
            await obey(request, context, .takeBack) { try await agent.takeBack($0.server, $0.order(TakeBackOrder.self)) }
        }
        routes.post("digests") { request, context in
            await answer(request, context) { try await agent.digests($0.server, $0.order(DigestOrder.self)) }
        }
    }

    private static func routeIncoming(_ routes: RouterGroup<Context>, _ agent: HostAgent) {
        routes.get { request, context in
            await answer(request, context) { try await agent.incoming($0.server, $0.key, seen: $0.seen, waitMS: $0.waitMS) }
        }
        routes.put { request, context in
            await obey(request, context, .prepare) { try await agent.prepare($0.server, $0.order(PrepareOrder.self)) }
        }
        routes.post("refuse") { request, context in
            await obey(request, context, .refuse) { try await agent.refuse($0.server, $0.order(RefuseOrder.self)) }
        }
        routes.post("handover") { request, context in
            await answer(request, context) { call in
                let order = try await call.order(HandoverOrder.self)
                guard call.peer.role != .agent || call.peer.name == order.source else {
                    throw AgentProblem(.forbidden, .invalidRequest, "agent/\(call.peer.name) hands over what is \(order.source)'s")
                }
                return try await reaching(.handOver) { try await agent.handOver(call.server, order) }
            }
        }
    }

    private struct Nothing: Encodable {}

    private static let versionHeader = HTTPField.Name(AgentVersion.header)

    /// An order of a worker or controller.
    ///
    /// - Parameter order: what its failure points are named after; nil where nothing is changed.
    private static func obey<Reply: Encodable>(
        _ request: Request, _ context: Context, _ order: AgentOrder? = nil, _ body: (Call) async throws -> Reply
    ) async -> Response {
        await answer(request, context) { call in
            try call.peer.requireOrders()
            guard let order else { return try await body(call) }
            return try await reaching(order) { try await body(call) }
        }
    }

    private static func reaching<Reply>(_ order: AgentOrder, _ body: () async throws -> Reply) async throws -> Reply {
        try await Failpoints.reach(.order(order, .before))
        let reply = try await body()
        try await Failpoints.reach(.order(order, .after))
        return reply
    }

    private static func answer<Reply: Encodable>(
        _ request: Request, _ context: Context, _ body: (Call) async throws -> Reply
    ) async -> Response {
        do {
            // Before the certificate, and before anything of the order is read: its meaning may be another's.
            try AgentVersion.require(versionHeader.flatMap { request.headers[$0] }, of: "whoever asks")
            let call = Call(request: request, context: context, peer: try await context.peer())
            return response(.ok, "application/json", try JSONEncoder().encode(try await body(call)))
        } catch {
            let problem =
                error as? AgentProblem
                ?? AgentProblem(.failed, error is CancellationError ? .agentError : .qemuError, "the agent could not do it: \(error)")
            context.logger.info(
                "refused",
                metadata: [
                    "path": .string(request.uri.path), "kind": .string(problem.kind.rawValue), "reason": .stringConvertible(problem.reason),
                ])
            // Strings and numbers, which can always be written; the status alone would say the kind.
            let document = (try? problem.document()) ?? Data()
            return response(HTTPResponse.Status(code: problem.status), "application/problem+json", document)
        }
    }

    private static func response(_ status: HTTPResponse.Status, _ type: String, _ body: Data) -> Response {
        var headers: HTTPFields = [.contentType: type]
        if let versionHeader { headers[versionHeader] = String(AgentVersion.current) }
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(data: body)))
    }
}
