import AgentAPI
import Engine
import Fleet
import Logging
import Steps
import Store

/// Brings the target the base images that the server's disks rest on and that it lacks, while the guest runs on: nobody writes to them. What
/// disks hold beyond them is then all that is mirrored.
struct CopyBasesStep: Step {
    static let name = "copy-bases"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk]
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let description = Medium.described(try await ground.store.server(context.server.value), after: context.migration.options)
        let shared = try ProveSharedStep.sharedDisks(context)
        let needs = BaseNeeds(of: description, except: shared)
        guard !needs.needs.isEmpty else { return StepResult() }
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        let missing: BaseNeeds
        do {
            missing = try await target.ask { try await $0.missingBases(needs) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
        var output = try context.output(of: name, as: CopyFollowing.Output.self) ?? CopyFollowing.Output()
        if missing.needs.isEmpty, output.bases == nil { return StepResult() }
        let names = output.bases ?? missing.needs.map(\.base.name).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
        var result = StepResult()
        if missing.needs.isEmpty {
            // They came while no worker looked.
            output.report = try await receipt(target, context)
            if let receipt = output.report {
                var progress = context.migration.progress ?? Progress()
                (progress.diskTotal, progress.diskDone) = (receipt.bytesTotal, receipt.bytesDone)
                result.progress = progress
            }
        } else {
            if output.bases == nil {
                output.bases = names
                // Before anything is lent, so that whoever comes after this worker knows that something may be.
                try await context.note([told(missing, target.host)], output: output)
            }
            try await lend(names, source, context)
            var following = CopyFollowing(
                ground: ground, context: context, source: source.host, target: target, output: output,
                bytesAfter: await bytesAfter(source, shared, context))
            try await following.run(
                ReceiveOrder(
                    epoch: context.epoch, key: context.key, description: description, source: source.host.name,
                    sourceAgentURL: source.host.agentURL, bandwidth: context.bandwidth, enableTLS: context.migration.options.enableTLS,
                    bases: names))
            output = following.output
            result.progress = following.progress
        }
        if try await endLoan(source, context) == .unreachable {
            context.log.info("the base images stay lent until the source is cleaned up")
        }
        result.output = try StepResult(output: output).output
        return result
    }

    private func told(_ missing: BaseNeeds, _ target: Host) -> PolicyEvent {
        let names = missing.needs.map { "\($0.base.name) on \($0.storage)" }.joined(separator: ", ")
        return PolicyEvent("base-brought", "\(target.name) lacks what the disks rest on (\(names)): that is brought there first.")
    }

    /// What the copy came to that an earlier worker had begun; nil when the target knows of none.
    private func receipt(_ target: AgentLink, _ context: StepContext) async throws -> ReceiptReport? {
        let (server, key) = (context.server, context.key)
        do {
            return try await target.ask { try await $0.incoming(server, key, seen: 0, waitMS: 0) }.receipt
        } catch let problem as AgentProblem {
            guard problem.kind == .notFound else { throw Remedies.fault(problem, of: target.host, .target) }
            return nil
        }
    }

    private func lend(_ names: [String], _ source: AgentLink, _ context: StepContext) async throws {
        let order = LendOrder(
            epoch: context.epoch, key: context.key, enableTLS: context.migration.options.enableTLS, bases: names,
            target: try await ground.target(context).host.name)
        do {
            _ = try await source.ask { try await $0.lend(context.server, order) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
    }

    /// Memory, and what the disks hold themselves; nil when the source does not say.
    private func bytesAfter(_ source: AgentLink, _ shared: [String], _ context: StepContext) async -> Int64? {
        do {
            let report = try await source.ask(patience: .zero) { try await $0.measure(context.server, MeasureOrder(watches: false)) }
            return report.disks.filter { !shared.contains($0.name) }.reduce(report.memoryBytes) { $0 + $1.allocatedBytes }
        } catch {
            context.log.info("the source does not say what there is to move", metadata: ["problem": "\(error)"])
            return nil
        }
    }

    private enum Answer {
        case done
        case unreachable
    }

    private func endLoan(_ source: AgentLink, _ context: StepContext) async throws -> Answer {
        let order = TakeBackOrder(epoch: context.epoch, key: context.key, targetRefused: false)
        do {
            _ = try await source.ask(patience: context.settings.shortPatience) { try await $0.takeBack(context.server, order) }
        } catch let problem as AgentProblem {
            switch problem.kind {
            // With the server went what was lent of it.
            case .notFound, .owned, .conflict: break
            case .unreachable: return .unreachable
            case .invalid, .forbidden, .staleEpoch, .failed: throw problem
            }
        }
        return .done
    }

    /// Has the loan ended, and what was begun at the target removed, or kept for the next attempt. Images that are there in full stay: they are
    /// what any server on them needs.
    func compensate(_ context: StepContext) async throws -> Compensation {
        guard try context.output(of: name, as: CopyFollowing.Output.self)?.bases != nil else { return .done }
        var left: [Cleanup] = []
        if try await endLoan(try await ground.source(context), context) == .unreachable {
            left.append(context.cleanup(.source, on: context.migration.source))
        }
        // What followed has given the target's end up already.
        if !context.journal.contains(where: { $0.step == PrepareTargetStep.name }),
            case .deferred(let cleanups) = try await CopyFollowing.giveUp(context, ground)
        {
            left += cleanups
        }
        return left.isEmpty ? .done : .deferred(left)
    }

    /// Bytes of base images that were brought in this attempt.
    static func brought(_ context: StepContext) throws -> Int64 {
        try context.output(of: name, as: CopyFollowing.Output.self)?.report?.bytesTotal ?? 0
    }
}

extension Progress {
    /// With so many bytes of base images, which went before the disks.
    func adding(bases bytes: Int64) -> Progress {
        var progress = self
        progress.diskTotal += bytes
        progress.diskDone += bytes
        return progress
    }
}
