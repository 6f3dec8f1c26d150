package import Fleet

/// What can be asked of one host's agent. Every order is an *ensure* call: asked again it finds its work done; every order with an
/// epoch older than one already obeyed for that server is refused (`stale-epoch`) and changes nothing.
///
/// The agent itself implements it, and ``AgentClient`` over HTTPS. All methods throw ``AgentProblem``.
package protocol AgentOrders: Sendable {
    func host() async throws -> HostFacts
    /// Everything that stands on the host, for whoever compares it with the store.
    func inventory() async throws -> Inventory
    func clear(_ server: ServerID, _ order: ClearOrder) async throws
    /// What the host's guard is told, by its agent. An order that the guard does not obey is answered with why, and is no failure.
    func obeyGuard(_ order: GuardOrder) async throws -> GuardReport
    func guest(_ server: ServerID) async throws -> GuestReport
    func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds

    /// What the source of a migration knows of what there is to move. Changes nothing.
    func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport
    func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport
    func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport
    /// The target's end of a rehearsal, then the source's.
    func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace
    func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport

    func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport
    func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport
    func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport
    func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport
    func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport
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

    /// Has nothing left of what a failed attempt left here and was kept (``KeptGuest``); one that is not there is as good.
    func deleteKept(_ id: String) async throws

    func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport
    func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport
    func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport
    func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport
    /// What is lent under that key; for the agent that copies it too.
    func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport
    func digests(_ server: ServerID, _ order: DigestOrder) async throws -> DigestReport

    /// The source's end of an attempt; waits up to `waitMS` for a version beyond `seen`.
    func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport
    /// The target's end, likewise.
    func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport
}

/// Finds the agent of a host.
package protocol AgentDirectory: Sendable {
    func agent(of host: Host) -> any AgentOrders
}
