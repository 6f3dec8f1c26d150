package import AgentAPI
package import Engine
package import Fleet
package import Store

/// What all steps stand on: the store to read, the agents to ask.
package struct Ground: Sendable {
    package let store: Store
    package let agents: any AgentDirectory
    package let settings: StepSettings

    package init(store: Store, agents: any AgentDirectory, settings: StepSettings = StepSettings()) {
        self.store = store
        self.agents = agents
        self.settings = settings
    }

    package func link(_ host: HostID, _ context: StepContext) async throws -> AgentLink {
        let host = try await store.host(host.value)
        return AgentLink(host: host, agent: agents.agent(of: host), clock: context.clock, settings: context.settings)
    }

    package func source(_ context: StepContext) async throws -> AgentLink { try await link(context.migration.source, context) }

    /// - Throws: a ``Fault`` for a migration without a target, which no step beyond placing can have.
    package func target(_ context: StepContext) async throws -> AgentLink {
        guard let target = context.migration.target else {
            throw Fault(.agentError, "The migration has no target in \(context.migration.state.rawValue).", remedy: .none)
        }
        return try await link(target, context)
    }
}
