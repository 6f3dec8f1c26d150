import AgentAPI
import Fleet
import Foundation
import Testing

@Suite(.timeLimit(.minutes(2)))
struct VersionTests {
    @Test func `adjacent versions agree, others are refused with which side is to be brought up to date`() throws {
        for (said, own) in [("2", 2), ("1", 2), ("3", 2), (nil, 2), (nil, 1)] as [(String?, Int)] {
            try AgentVersion.require(said, of: "the other", own: own)
        }
        let old = #expect(throws: AgentProblem.self) { try AgentVersion.require(nil, of: "the other", own: 3) }
        #expect(old?.reason.code == .incompatibleVersion && old?.reason.message.contains("bring the other up to date") == true)
        let new = #expect(throws: AgentProblem.self) { try AgentVersion.require("4", of: "the other", own: 2) }
        #expect(new?.reason.message.contains("bring this side up to date") == true)
        #expect(throws: AgentProblem.self) { try AgentVersion.require("x", of: "the other", own: 2) }
        #expect(throws: AgentProblem.self) { try AgentVersion.require("\(Int.min)", of: "the other", own: 2) }
    }

    @Test func `an agent works with who has the version before or after its own, and does nothing for others`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            for distance in -2...2 {
                let (pool, agent) = try host.client(as: "worker/w\(distance + 3)", version: AgentVersion.current + distance)
                let server = ServerID.unique()
                let order = DefineOrder(epoch: Epoch(1), description: TestGuest.description(server))
                if abs(distance) <= 1 {
                    _ = try await agent.define(server, order)
                    #expect(try await agent.host().apiVersion == AgentVersion.current)
                } else {
                    let problem = await #expect(throws: AgentProblem.self) { _ = try await agent.define(server, order) }
                    #expect(problem?.kind == .invalid && problem?.reason.code == .incompatibleVersion, "\(String(describing: problem))")
                    #expect(try await host.orders.inventory().guests.allSatisfy { $0.server != server }, "it was not obeyed")
                }
                try await pool.shutdown()
            }
        }
    }
}
