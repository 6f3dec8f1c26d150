package import Fleet

/// What can be asked of one host's agent. Every order is an *ensure* call: asked again it finds its work done; every order with an
/// epoch older than one already obeyed for that server is refused (`stale-epoch`) and changes nothing.
///
/// The agent itself implements it, and ``AgentClient`` over HTTPS. All methods throw ``AgentProblem``.
package protocol AgentOrders: Sendable {
    func host() async throws -> HostFacts
    func guest(_ server: ServerID) async throws -> GuestReport

    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport
    func delete(_ server: ServerID, _ order: DeleteOrder) async throws

    func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport
    func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport
    func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport
    func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport
    func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport
    func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport
    @discardableResult
    func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport

    func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport
    func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport

    /// The source's end of an attempt; waits up to `waitMS` for a version beyond `seen`.
    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport
    /// The target's end, likewise.
    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport
}

/// Finds the agent of a host.
package protocol AgentDirectory: Sendable {
    func agent(of host: Host) -> any AgentOrders
}
