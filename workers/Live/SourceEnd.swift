import AgentAPI
import Engine
import Fleet
import Logging
import Steps
import Store

/// The source's end of an attempt, and what to conclude from what it says.
struct SourceEnd {
    let ground: Ground
    let source: AgentLink
    let context: StepContext

    /// Gives an order about this attempt. One that comes too late, because the attempt is further already, finds out how far.
    func give(_ order: (any AgentOrders) async throws -> OutgoingReport) async throws -> OutgoingReport {
        do {
            return try await source.ask(order)
        } catch let problem as AgentProblem where problem.kind == .conflict {
            let (server, key) = (context.server, context.key)
            let report: OutgoingReport
            do {
                report = try await source.ask { try await $0.outgoing(server, key, seen: 0, waitMS: 0) }
            } catch let missing as AgentProblem where missing.kind == .notFound {
                throw problem
            }
            switch report.phase {
            case .switching, .handedOver, .confirmed: return report
            case .mirroring, .mirrored, .memory, .aborted, .failed: throw problem
            }
        }
    }

    /// Why the source's end is over. Where its streams broke, the target is asked what it knows of that: the reason that a person needs is
    /// *QEMU on host2 died*, not *broken pipe*.
    func fault(of report: OutgoingReport) async -> Fault {
        let reason = report.reason ?? Reason(.agentError, "\(source.host.name) ended the migration without a reason.")
        let (from, to) = (source.host.name, await targetName())
        switch reason.code {
        case .connectionLost, .qemuError, .agentError:
            do {
                if let fault = try await targetsSide(of: reason) { return fault }
            } catch {
                context.log.info("the target could not be asked for its side", metadata: ["error": "\(error)"])
            }
            guard reason.code == .connectionLost else { break }
            let told = "\(from) cannot send to \(to): \(reason.message). Look at the network between the two hosts"
            return Remedies.fault(Reason(.connectionLost, "\(told); the server runs on at \(from)."), told: .source)
        case .tlsRefused:
            return Fault(
                Reason(.tlsRefused, "\(from) and \(to) do not take each other's certificates: \(reason.message)"), remedy: .otherTarget)
        case .diskFull:
            let remedy = "Free some room on \(to), or choose another host with --prefer-host"
            return Fault(
                Reason(.diskFull, "\(to): \(reason.message). \(remedy); the server runs on at \(from)."), remedy: .otherTarget)
        default: break
        }
        return Remedies.fault(reason, told: .source)
    }

    private func targetName() async -> String {
        (try? await ground.target(context).host.name) ?? context.migration.target?.value ?? "the target"
    }

    /// What the target has to say to that; nil when it knows nothing of it.
    private func targetsSide(of reason: Reason) async throws -> Fault? {
        let target = try await ground.target(context)
        let (server, key, patience) = (context.server, context.key, context.settings.shortPatience)
        do {
            var report = try await target.ask(patience: patience) { try await $0.incoming(server, key, seen: 0, waitMS: 0) }
            if report.phase == .prepared || report.phase == .received {
                // It may not have seen it yet.
                let seen = report.version
                report = try await target.ask(patience: patience) { try await $0.incoming(server, key, seen: seen, waitMS: 500) }
            }
            guard report.phase == .failed else { return nil }
            guard let told = report.reason, told.code != .connectionLost else {
                return Fault(
                    Reason(
                        reason.code,
                        "\(source.host.name) cannot send to \(target.host.name): \(reason.message). Look at the network between the two hosts; the server runs on at \(source.host.name)."
                    ), remedy: .otherTarget)
            }
            return Fault(Reason(told.code, "\(told.message) (\(target.host.name))"), remedy: .otherTarget)
        } catch let problem as AgentProblem {
            switch problem.kind {
            case .unreachable:
                return Fault(
                    .targetLost,
                    "\(target.host.name) cannot be reached, and \(source.host.name) says: \(reason.message). See whether \(target.host.name) is up, its godwit-agent runs, and the network between the two hosts is whole; the server runs on at \(source.host.name).",
                    remedy: .otherTarget)
            case .notFound:
                return Fault(
                    .targetLost, "\(target.host.name) lost the guest that it had prepared; \(source.host.name) says: \(reason.message)",
                    remedy: .otherTarget)
            case .invalid, .forbidden, .staleEpoch, .owned, .conflict, .failed: return nil
            }
        }
    }

    /// Whether the target durably owns the guest; false also when it does not answer.
    func targetOwns() async throws -> Bool {
        let target = try await ground.target(context)
        do {
            return try await owns(target, context.settings.shortPatience)
        } catch let problem as AgentProblem {
            context.log.info("the target did not say whether it owns the guest", metadata: ["problem": "\(problem)"])
            return false
        }
    }

    /// Somebody vouches that the source, which does not answer, is off for good, and no disk is lost with it: then nothing but the guest's memory
    /// is given up, and a rescue can start the server elsewhere. A disk that only the source had may by now be whole on the target alone, so
    /// that with one the migration waits on.
    func isGivenUp() async throws -> Bool {
        guard await context.options().confirmHostDown else { return false }
        let shared = try ProveSharedStep.sharedDisks(context)
        return try await ground.store.server(context.server.value).description.disks.allSatisfy { shared.contains($0.name) }
    }

    /// What ``isGivenUp()`` means for a migration whose target is not known to own the guest.
    var givenUp: Fault {
        Fault(
            .sourceLost,
            "\(source.host.name) is off, as was confirmed, and had not handed the guest over: its memory is lost. The server's disks are whole: rescue it with server-migrate --rescue-mode.",
            remedy: .none)
    }

    /// Has the migration off and the guest running at the source, without ever letting two run (rule 6).
    ///
    /// 1. The source is told to abort. Before its handover record is written it obeys, and will never hand this attempt over.
    /// 2. It refuses where it has handed over. Then the target decides: it owns, and there is no way back; or it durably refuses.
    /// 3. With the target's refusal the source takes the guest back.
    ///
    /// A source that is given up (``isGivenUp()``) has nothing to take back: what counts is that the target never runs the guest.
    ///
    /// Whoever else does not answer meanwhile is waited for. The target is not told to refuse while the source is silent: it may hold the only
    /// copy of the guest's memory.
    func takeBack() async throws -> Compensation {
        let patience = context.settings.shortPatience
        if isTakenBack { return .done }
        if try await abort(targetRefused: false) == .obeyed { return .done }
        let target = try await ground.target(context)
        let refusal: IncomingReport
        do {
            // A question is answered at once, or whoever waits learns what for; the order may take a minute.
            if try await owns(target, patience) { return .targetOwns }
            refusal = try await target.ask(patience: patience) {
                try await $0.refuse(context.server, RefuseOrder(epoch: context.epoch, key: context.key, isFinal: false))
            }
        } catch let problem as AgentProblem {
            switch problem.kind {
            case .owned: return .targetOwns
            case .unreachable:
                throw Awaiting("\(target.host.name) to say whether it took the guest over", reason: problem.reason)
            case .invalid, .forbidden, .notFound, .staleEpoch, .conflict, .failed:
                throw Awaiting("\(target.host.name) to refuse the guest", reason: problem.reason)
            }
        }
        switch refusal.phase {
        case .owned, .running: return .targetOwns
        case .refused: break
        case .prepared, .received, .failed: throw Awaiting("\(target.host.name) to refuse the guest", reason: refusal.reason)
        }
        guard try await abort(targetRefused: true) != .handedOver else {
            throw Awaiting("\(source.host.name) to take the guest back, which \(target.host.name) has refused")
        }
        return .done
    }

    /// - Throws: ``AgentProblem``, but for a target that knows nothing of the attempt.
    private func owns(_ target: AgentLink, _ patience: Duration) async throws -> Bool {
        let (server, key) = (context.server, context.key)
        do {
            let report = try await target.ask(patience: patience) { try await $0.incoming(server, key, seen: 0, waitMS: 0) }
            return report.phase == .owned || report.phase == .running
        } catch let problem as AgentProblem where problem.kind == .notFound {
            return false
        }
    }

    /// Has the mirrors off, where leave to switch was never given or is taken back already.
    /// - Throws: ``AgentProblem``.
    func endMirrors() async throws {
        if isTakenBack { return }
        do {
            _ = try await source.ask(patience: context.settings.shortPatience) {
                try await $0.abort(context.server, AbortOrder(epoch: context.epoch, key: context.key, targetRefused: false))
            }
        } catch let problem as AgentProblem where problem.kind == .notFound {
            // It never heard of the attempt.
        }
    }

    /// A later step's compensation has done it.
    var isTakenBack: Bool {
        context.journal.contains {
            ($0.step == SwitchStep.name || $0.step == SendMemoryStep.name) && $0.status == .compensated
        }
    }

    private enum Obedience {
        case obeyed
        /// It has handed over and wants the target's refusal.
        case handedOver
        /// It is given up.
        case gone
    }

    private func abort(targetRefused: Bool) async throws -> Obedience {
        let order = AbortOrder(epoch: context.epoch, key: context.key, targetRefused: targetRefused)
        do {
            let report = try await source.ask(patience: context.settings.shortPatience) {
                try await $0.abort(context.server, order)
            }
            switch report.phase {
            case .aborted, .failed: return .obeyed
            case .mirroring, .mirrored, .memory, .switching, .handedOver, .confirmed: return .handedOver
            }
        } catch let problem as AgentProblem {
            switch problem.kind {
            // It never heard of the attempt, so that it cannot have handed it over.
            case .notFound: return .obeyed
            case .owned, .conflict: return .handedOver
            case .unreachable:
                if try await targetOwns() { return .handedOver }
                if try await isGivenUp() { return .gone }
                let what = targetRefused ? "take the guest back" : "say whether it handed the guest over"
                throw Awaiting("\(source.host.name) to \(what)", reason: problem.reason)
            case .invalid, .forbidden, .staleEpoch, .failed: throw problem
            }
        }
    }
}
