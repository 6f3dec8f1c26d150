package import AgentAPI
package import Fleet

/// One host's agent, asked with patience: an agent that does not answer may be restarting, and every order can be given again.
package struct AgentLink: Sendable {
    package let host: Host
    private let agent: any AgentOrders
    private let clock: any EngineClock
    private let settings: EngineSettings

    package init(host: Host, agent: any AgentOrders, clock: any EngineClock, settings: EngineSettings) {
        self.host = host
        self.agent = agent
        self.clock = clock
        self.settings = settings
    }

    /// Gives an order, and again while nobody answers.
    ///
    /// - Parameter patience: for how long; the settings' when nil.
    /// - Throws: ``Superseded`` when the agent obeyed a newer epoch; ``AgentProblem``, `unreachable` only once patience is at its end.
    @discardableResult
    package func ask<T: Sendable>(
        patience: Duration? = nil, _ order: (any AgentOrders) async throws -> T
    ) async throws -> T {
        let end = clock.now() + (patience ?? settings.patience)
        var tries = 0
        while true {
            do {
                return try await order(agent)
            } catch let problem as AgentProblem {
                try Task.checkCancellation()
                switch problem.kind {
                case .staleEpoch: throw Superseded()
                case .unreachable:
                    tries += 1
                    let wait = settings.reconnect.delay(after: tries)
                    // What an agent is not trusted for does not pass with time.
                    guard problem.reason.code != .tlsRefused, clock.now() + wait < end else {
                        throw AgentProblem(
                            .unreachable, problem.reason.code, "The agent of \(host.name) cannot be reached: \(problem.reason.message)")
                    }
                    try await clock.sleep(for: wait)
                case .invalid, .forbidden, .notFound, .owned, .conflict, .failed: throw problem
                }
            }
        }
    }
}
