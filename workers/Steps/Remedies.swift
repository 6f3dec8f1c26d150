package import AgentAPI
package import Fleet

/// What another try could change, judged by the reason and by which end told it.
package enum Remedies {
    package enum End {
        case source
        case target
    }

    package static func remedy(for code: Reason.Code, told end: End) -> Fault.Remedy {
        switch code {
        case .targetLost, .diskFull, .memoryShort, .incompatibleCPU, .incompatibleQEMU, .stalled, .notShared, .tlsRefused:
            .otherTarget
        // An image that was there goes with the last server on it, and is brought again.
        case .sourceLost, .switchoverTimeout, .connectionLost, .baseMissing: .sameTarget
        // The guest's own doing, or what was asked for: the same again elsewhere.
        case .guestStopped, .didNotConverge, .timedOut, .cancelled, .noHost, .invalidRequest, .hostNotDown, .localDisk: .none
        default: end == .target ? .otherTarget : .sameTarget
        }
    }

    package static func fault(_ reason: Reason, told end: End) -> Fault {
        Fault(reason, remedy: remedy(for: reason.code, told: end))
    }

    /// What an order's refusal or failure means for the migration.
    package static func fault(_ problem: AgentProblem, of host: Host, _ end: End) -> Fault {
        switch (problem.kind, end) {
        case (.unreachable, _) where problem.reason.code == .tlsRefused:
            Fault(problem.reason, remedy: end == .target ? .otherTarget : .none)
        case (.unreachable, .source): Fault(.sourceLost, problem.reason.message, remedy: .sameTarget)
        case (.unreachable, .target): Fault(.targetLost, problem.reason.message, remedy: .otherTarget)
        case (.notFound, .source):
            Fault(.guestStopped, "\(host.name) has no such guest: \(problem.reason.message)", remedy: .none)
        case (.invalid, _), (.forbidden, _):
            Fault(
                Reason(problem.reason.code, "\(host.name) refused the order: \(problem.reason.message)"),
                remedy: end == .target ? .otherTarget : .none)
        case (.conflict, .target) where problem.reason.code == .leaseOver: Fault(problem.reason, remedy: .otherTarget)
        // In the way now, and gone later, such as what an earlier move left there.
        case (.conflict, _): Fault(problem.reason, remedy: problem.reason.code == .guestStopped ? .none : .sameTarget)
        case (.owned, .target): Fault(problem.reason, remedy: .otherTarget)
        default: fault(problem.reason, told: end)
        }
    }
}
