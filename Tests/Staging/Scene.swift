package import AgentAPI
package import AgentFakes
package import Engine
package import Fleet
package import Steps
package import Store

/// What a ``PlanStage`` begins with.
package struct Scene<World: FakeWorld>: Sendable {
    package var mode: Mode
    /// What the server is before its migration.
    package var status: ServerStatus
    /// The first has the server; each has less memory than the one before it.
    package var hosts = ["host1", "host2", "host3"]
    /// The storage of each of the server's disks.
    package var storages = ["local"]
    /// Name of a base image that every disk rests on.
    package var base: String?
    package var cdrom: String?
    /// What a migration is asked for when a test says nothing else.
    package var options = MigrationOptions()
    /// The source answers, so that all is cleaned up soon after the end.
    package var hasCleanEnd = true
    package var steps = StepSettings()
    package var agent: @Sendable (String, FakeFleet<World>) -> any AgentOrders
    package var plan: @Sendable (Store, any AgentDirectory, StepSettings) -> Plan

    package init(
        _ mode: Mode, _ status: ServerStatus, agent: @escaping @Sendable (String, FakeFleet<World>) -> any AgentOrders,
        plan: @escaping @Sendable (Store, any AgentDirectory, StepSettings) -> Plan
    ) {
        self.mode = mode
        self.status = status
        self.agent = agent
        self.plan = plan
    }
}
