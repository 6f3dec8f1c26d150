import AgentAPI
import Fleet
import Foundation
import Guarding
import Testing

@testable import Agent
@testable import Hypervisor

/// A host whose lease is over, and no guard there.
@Suite(.serialized, .timeLimit(.minutes(5)))
struct LeaseTests {
    @Test func `the agent ends what a guard that died did not, starts it no more, and leaves servers with local disks alone`() async throws
    {
        try await withHosts("a") { hosts in
            let host = hosts[0]
            let files = GuardFiles(HostPaths(host.configuration))
            let (shared, local, idle) = (ServerID.unique(), ServerID.unique(), ServerID.unique())
            for (server, storage) in [(shared, "shared"), (local, "local"), (idle, "shared")] {
                _ = try await host.orders.define(
                    server, DefineOrder(epoch: Epoch(1), description: TestGuest.description(server, storages: [storage])))
            }
            let pids = try await [shared, local].asyncMap {
                try #require(try await host.orders.start($0, StartOrder(epoch: Epoch(2))).summary.pid)
            }
            let facts = try await host.orders.host()
            #expect(facts.guardian == GuardReport(state: .absent))
            let boot = try #require(facts.boot)
            let order = GuardOrder(number: 1, bootID: boot.bootID, untilMS: boot.milliseconds + 60_000)
            let refused = try await host.orders.obeyGuard(order)
            #expect(refused.state == .absent && !refused.confirms && !refused.isArmed, "nobody would keep the promise")

            // What a guard left that had confirmed a lease and died.
            let lease = LeaseBook(number: 4, lease: LeaseBook.Lease(bootID: boot.bootID, untilMS: BootClock.milliseconds))
            try files.write(lease, over: LeaseBook(), writer: "test")
            for server in [shared, idle] {
                let problem = try await refusal { _ = try await host.orders.start(server, StartOrder(epoch: Epoch(3))) }
                #expect(problem?.kind == .conflict && problem?.reason.code == .leaseOver)
            }
            try await eventually("the guest on shared storage is ended") { !isAlive(pids[0]) }
            #expect(isAlive(pids[1]))
            // Written down once it is done.
            try await eventually("it is told as ended by the guard") {
                try await host.orders.host().guests.first { $0.server == shared }?.endedByGuard == true
            }
            let after = try await host.orders.host()
            #expect(after.guests.first { $0.server == local }?.endedByGuard == nil)
            #expect(after.guardian == GuardReport(state: .absent, number: 4, isArmed: true, isOver: true))
            _ = try await host.orders.start(local, StartOrder(epoch: Epoch(3)))

            #expect(after.isShuttingDown == nil)
            try files.announceShutdown()
            for _ in 1...3 {
                #expect(!files.isShutdownTold)
                #expect(try await host.orders.host().isShuttingDown == true)
            }
            #expect(files.isShutdownTold)

            // Nobody counts on it any more.
            #expect(try await host.orders.obeyGuard(GuardOrder(number: 3, bootID: boot.bootID, untilMS: nil)).isArmed, "a late release")
            #expect(try await !host.orders.obeyGuard(GuardOrder(number: 5, bootID: boot.bootID, untilMS: nil)).isArmed)
            let again = try await host.orders.start(shared, StartOrder(epoch: Epoch(4)))
            #expect(again.summary.status == .running && again.summary.endedByGuard == nil)
        }
    }
}

extension Array {
    fileprivate func asyncMap<T>(_ body: (Element) async throws -> T) async rethrows -> [T] {
        var result: [T] = []
        for element in self { result.append(try await body(element)) }
        return result
    }
}
