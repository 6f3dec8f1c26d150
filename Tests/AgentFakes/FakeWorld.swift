package import AgentAPI
package import Fleet

/// Hosts and what their agents wrote down, in memory and without time: as far as a test's orders can tell.
package protocol FakeWorld: Sendable {
    associatedtype Node: FakeNode
    init()
    /// The hosts, by name.
    var nodes: [String: Node] { get set }
    /// Called after every call: notes what must never be.
    mutating func check()
}

/// One host of a ``FakeWorld``.
package protocol FakeNode: Sendable {
    init()
    /// The highest that its agent has obeyed.
    var epoch: Epoch { get set }
    /// Its agent does not answer for so many calls.
    var silentCalls: Int { get set }
    /// Answers to give once, by order.
    var problems: [String: AgentProblem] { get set }
}
