import AgentAPI
package import Engine
package import Fleet
import Logging
import Store

/// Has proven, before anything is skipped or made, that the storages of the server's disks are what both hosts call them: what one host
/// wrote on a shared one the other one reads, and on a local one it does not.
package struct ProveSharedStep: Step {
    package static let name = "prove-shared"
    package var name: String { Self.name }
    package let states: Set<MigrationState> = [.syncingDisk, .syncingMemory, .switching]
    private let ground: Ground

    package init(ground: Ground) {
        self.ground = ground
    }

    /// What the steps after this one may rely on.
    package struct Output: Codable {
        /// Names of the disks that both hosts see and that stay where they are.
        package var sharedDisks: [String]
    }

    package func perform(_ context: StepContext) async throws -> StepResult {
        let description = try await ground.store.server(context.server.value).description
        let storages = Set(description.disks.map(\.storage)).sorted()
        guard !storages.isEmpty else { return try StepResult(output: Output(sharedDisks: [])) }
        let source = try await ground.source(context)
        let target = try await ground.target(context)
        var random = Chance()
        let nonce = "\(context.key.migration) \(context.key.attempt) \(random.next())"
        func order(_ act: ProofOrder.Act) -> ProofOrder {
            ProofOrder(epoch: context.epoch, key: context.key, act: act, storages: storages, nonce: nonce)
        }
        let (wrote, saw): (ProofReport, ProofReport)
        do {
            wrote = try await source.ask { try await $0.prove(context.server, order(.write)) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: source.host, .source)
        }
        do {
            saw = try await target.ask { try await $0.prove(context.server, order(.look)) }
        } catch let problem as AgentProblem {
            throw Remedies.fault(problem, of: target.host, .target)
        }
        do {
            try await source.ask(patience: context.settings.shortPatience) { try await $0.prove(context.server, order(.remove)) }
        } catch let problem as AgentProblem {
            context.log.info("a nonce stays behind", metadata: ["problem": "\(problem)"])
        }
        let proof = StorageProof(source: source.host.name, target: target.host.name, wrote: wrote, saw: saw)
        for storage in storages {
            if let fault = proof.fault(about: storage) { throw fault }
        }
        let shared = description.disks.filter { proof.isShared($0.storage) }.map(\.name)
        return try StepResult(output: Output(sharedDisks: shared))
    }

    package func compensate(_ context: StepContext) async throws -> Compensation { .done }

    /// Names of the disks that stay where they are.
    /// - Throws: ``Fault`` when that was not proven in this attempt.
    package static func sharedDisks(_ context: StepContext) throws -> [String] {
        guard let output = try context.output(of: name, as: Output.self) else {
            throw Fault(.agentError, "The journal does not say which disks both hosts see.", remedy: .sameTarget)
        }
        return output.sharedDisks
    }
}

/// What two hosts' findings about their storages mean. Pure.
struct StorageProof {
    let source: String
    let target: String
    let wrote: ProofReport
    let saw: ProofReport

    func isShared(_ storage: String) -> Bool { wrote.storages[storage]?.kind == .shared }

    /// Why the server cannot move with a disk on that storage; nil when it can. Another target may have what this one has not.
    func fault(about storage: String) -> Fault? {
        func fault(_ message: String) -> Fault { Fault(.notShared, message, remedy: .otherTarget) }
        guard let here = wrote.storages[storage]?.kind else { return fault("\(source) has no storage \(storage) any more.") }
        guard let found = saw.storages[storage], let there = found.kind else { return fault("\(target) has no storage \(storage).") }
        switch (here, there) {
        case (.shared, .shared):
            return found.isSeen
                ? nil
                : fault(
                    "Storage \(storage) is shared to \(source) and to \(target) by name, and is not the same one: what \(source) wrote there \(target) does not see. Mount the same folder on both, or give one of them another name."
                )
        case (.local, .local):
            return found.isSeen
                ? fault(
                    "Storage \(storage) is local to \(source) and to \(target) by name, and both see the same folder there: the server would be copied onto itself. Declare it shared on both."
                )
                : nil
        case (.shared, .local), (.local, .shared):
            return fault(
                "Storage \(storage) is \(here.rawValue) on \(source) and \(there.rawValue) on \(target): declare it the same on both.")
        }
    }
}
