import AgentAPI
import Fleet
import Foundation
import Hypervisor
import Testing

@Suite(.serialized, .timeLimit(.minutes(2)))
struct CertificateTests {
    private func ended(_ files: AgentConfiguration.TLSFiles) async throws {
        let end = try #require(try MutualTLS.end(of: files.certificate))
        while Timestamp.now <= end { try await Task.sleep(for: .milliseconds(50)) }
    }

    @Test func `a worker's certificate that has ended is named, and with a new one it works on`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let files = try host.certificate("worker/w2", validFor: .seconds(2))
            let pool = try AgentPool(tls: files.mutualTLS)
            try await ended(files)
            let problem = await #expect(throws: AgentProblem.self) { _ = try await pool.agent(at: host.url).host() }
            try await pool.shutdown()
            #expect(problem?.kind == .unreachable && problem?.reason.code == .tlsRefused, "\(String(describing: problem))")
            #expect(problem?.reason.message.contains("\(files.certificate) has ended on") == true, "\(String(describing: problem))")
            let (again, agent) = try host.client(as: "worker/w2")
            _ = try await agent.host()
            try await again.shutdown()
        }
    }

    @Test func `an agent's certificate that has ended is refused by its reason, and with a new one it works on`() async throws {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            try await host.stop()
            try await ended(try host.certificate("agent/a", validFor: .seconds(2)))
            try await host.start()
            let problem = await #expect(throws: AgentProblem.self) { _ = try await host.orders.host() }
            #expect(problem?.kind == .unreachable && problem?.reason.code == .tlsRefused, "\(String(describing: problem))")
            #expect(problem?.reason.message.contains("not have ended") == true)
            try await host.stop()
            _ = try host.certificate("agent/a")
            try await host.start()
            _ = try await host.orders.host()
        }
    }
}
