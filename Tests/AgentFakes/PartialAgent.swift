package import AgentAPI
package import Fleet

/// An agent that knows only the orders that it implements itself: what a test is about. Every other one is answered with ``unknown``.
package protocol PartialAgent: AgentOrders {
    /// What an order is answered that this agent does not know.
    var unknown: AgentProblem { get }
}

extension PartialAgent {
    package var unknown: AgentProblem { AgentProblem(.notFound, .invalidRequest, "nothing here") }

    package func host() async throws -> HostFacts { throw unknown }
    package func inventory() async throws -> Inventory { throw unknown }
    package func clear(_ server: ServerID, _ order: ClearOrder) async throws { throw unknown }
    package func obeyGuard(_ order: GuardOrder) async throws -> GuardReport { throw unknown }
    package func guest(_ server: ServerID) async throws -> GuestReport { throw unknown }
    package func missingBases(_ needs: BaseNeeds) async throws -> BaseNeeds { throw unknown }
    package func measure(_ server: ServerID, _ order: MeasureOrder) async throws -> MeasureReport { throw unknown }
    package func cpuFeatures(_ server: ServerID) async throws -> CPUFeaturesReport { throw unknown }
    package func checkCPU(_ order: CPUCheckOrder) async throws -> CPUCheckReport { throw unknown }
    package func awaitRehearsal(_ order: RehearsalOrder) async throws -> RehearsalPlace { throw unknown }
    package func rehearse(_ server: ServerID, _ order: RehearseOrder) async throws -> RehearsalReport { throw unknown }
    package func define(_ server: ServerID, _ order: DefineOrder) async throws -> GuestReport { throw unknown }
    package func start(_ server: ServerID, _ order: StartOrder) async throws -> GuestReport { throw unknown }
    package func stop(_ server: ServerID, _ order: StopOrder) async throws -> GuestReport { throw unknown }
    package func pause(_ server: ServerID, _ order: PauseOrder) async throws -> GuestReport { throw unknown }
    package func setCDROM(_ server: ServerID, _ order: CDROMOrder) async throws -> GuestReport { throw unknown }
    package func delete(_ server: ServerID, _ order: DeleteOrder) async throws { throw unknown }
    package func prepare(_ server: ServerID, _ order: PrepareOrder) async throws -> IncomingReport { throw unknown }
    package func mirror(_ server: ServerID, _ order: MirrorOrder) async throws -> OutgoingReport { throw unknown }
    package func sendMemory(_ server: ServerID, _ order: MemoryOrder) async throws -> OutgoingReport { throw unknown }
    package func abort(_ server: ServerID, _ order: AbortOrder) async throws -> OutgoingReport { throw unknown }
    package func handOver(_ server: ServerID, _ order: HandoverOrder) async throws -> IncomingReport { throw unknown }
    package func refuse(_ server: ServerID, _ order: RefuseOrder) async throws -> IncomingReport { throw unknown }
    package func discard(_ server: ServerID, _ order: DiscardOrder) async throws -> DiscardReport { throw unknown }
    package func prove(_ server: ServerID, _ order: ProofOrder) async throws -> ProofReport { throw unknown }
    package func adopt(_ server: ServerID, _ order: AdoptOrder) async throws -> GuestReport { throw unknown }
    package func deleteKept(_ id: String) async throws { throw unknown }
    package func lend(_ server: ServerID, _ order: LendOrder) async throws -> LoanReport { throw unknown }
    package func yield(_ server: ServerID, _ order: YieldOrder) async throws -> LoanReport { throw unknown }
    package func takeBack(_ server: ServerID, _ order: TakeBackOrder) async throws -> LoanReport { throw unknown }
    package func receive(_ server: ServerID, _ order: ReceiveOrder) async throws -> IncomingReport { throw unknown }
    package func loan(_ server: ServerID, _ key: AttemptKey) async throws -> LoanReport { throw unknown }
    package func digests(_ server: ServerID, _ order: DigestOrder) async throws -> DigestReport { throw unknown }
    package func outgoing(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> OutgoingReport {
        throw unknown
    }
    package func incoming(_ server: ServerID, _ key: AttemptKey, seen: Int64, waitMS: Int64) async throws -> IncomingReport {
        throw unknown
    }
}
