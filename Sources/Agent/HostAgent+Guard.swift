import AgentAPI
import Attempts
package import Fleet
import Foundation
import Glibc
import Guarding
import Hypervisor
import Logging

/// The host's guard, as its agent has to do with it.
extension HostAgent {
    package func obeyGuard(_ order: GuardOrder) async throws -> GuardReport {
        let files = host.guardFiles
        return try await offloaded {
            let why: String
            do {
                if let report = try GuardLink.ask(files.socket, order) { return report }
                why = "there is no guard"
            } catch let problem as AgentProblem {
                why = problem.reason.message
            }
            let (now, book) = (try BootClock.now(), try files.readBook())
            guard order.untilMS == nil else { return book.report(.absent, at: now, refusal: why) }
            // What nobody counts on any more binds nobody, whether or not there is a guard to be told.
            var next = book
            let refusal = next.obey(order, at: now, isLeaving: false)
            if next != book { try files.write(next, over: book, writer: "agent") }
            return next.report(.absent, at: now, refusal: refusal)
        }
    }

    /// How the guard stands; of one that is not there, what it left. Of one that is there and does not answer also why.
    func guardReport() async throws -> (report: GuardReport, trouble: AgentProblem?) {
        let files = host.guardFiles
        return try await offloaded {
            var trouble: AgentProblem?
            do {
                if let report = try GuardLink.ask(files.socket, nil) { return (report, nil) }
            } catch let problem as AgentProblem {
                trouble = problem
            }
            return (try files.readBook().report(.absent, at: BootClock.now()), trouble)
        }
    }

    /// Ends marked guests that are still there some time after the lease was over, again and again: the guard has died, or hangs.
    func keepSecondLine() async {
        let (files, logger) = (host.guardFiles, host.logger)
        while !Task.isCancelled {
            do {
                try await Task.sleep(for: .seconds(1))
                guard let (ended, untold, _) = try await offloaded({ try Self.endForgotten(files) }) else { continue }
                if let untold { logger.error("\(untold.reason.message)") }
                if !ended.isEmpty {
                    logger.critical(
                        "the host's lease is over and its guard did nothing: guests were ended",
                        metadata: ["servers": "\(ended.map(\.value).sorted())"])
                }
            } catch is CancellationError {
                return
            } catch {
                logger.error("whether the host's lease is over cannot be read", metadata: ["problem": "\(error)"])
            }
        }
    }

    /// Nil while there is none to be ended.
    private static func endForgotten(
        _ files: GuardFiles
    ) throws -> (ended: Set<ServerID>, untold: AgentProblem?, areGone: Bool)? {
        guard case .over(let sinceMS) = try files.readBook().standing(at: BootClock.now()), sinceMS ?? .max >= GuardTiming.secondLineMS
        else {
            return nil
        }
        return try MarkedGuests.end(files, withinMS: 2000)
    }
}

extension HostContext {
    /// Whether the guest is ended with the host's lease: its server could run elsewhere.
    func isMarked(_ guest: GuestDescription, _ paths: GuestPaths) -> Bool { guest.disks.allSatisfy { paths.isShared($0.storage) } }

    /// - Throws: ``AgentProblem`` `lease-over`.
    func requireLease() throws {
        guard try guardFiles.readBook().standing(at: BootClock.now()).isOver else { return }
        throw AgentProblem(
            .conflict, .leaseOver,
            "the lease of host \(configuration.name) is over, so that servers on shared storage may have been started elsewhere: none is started here before a controller has renewed it"
        )
    }

    /// Enters the gate to start a guest's QEMU, with the guest marked; nil for one that needs no mark. Hold it until QEMU is there.
    /// - Throws: ``AgentProblem`` `lease-over`.
    func enterGate(_ guest: GuestDescription, _ paths: GuestPaths) async throws -> Gate? {
        unlink(paths.ended)
        guard isMarked(guest, paths) else {
            try GuestMark.set(false, paths)
            return nil
        }
        let deadline = ContinuousClock.now.advanced(by: .seconds(3))
        while true {
            try requireLease()
            if let gate = try Gate.take(guardFiles.gate, isAlone: false) {
                // The last moment may have passed since.
                try requireLease()
                try GuestMark.set(true, paths)
                return gate
            }
            guard ContinuousClock.now < deadline else {
                throw AgentProblem(.conflict, .leaseOver, "the guard of host \(configuration.name) lets nothing be started: see its log")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
