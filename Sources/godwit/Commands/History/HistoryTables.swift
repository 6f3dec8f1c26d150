import Client
import Fleet
import Foundation
import Output

/// The history of all migrations as tables.
enum HistoryTables {
    static func rows(_ transitions: [TransitionView]) -> String {
        Table(
            ["Number", "Time", "Migration", "Server", "Mode", "State", "Attempt", "Source", "Target", "Step", "Actor", "Reason"],
            rows: transitions.map { transition in
                let rollback = transition.direction == .rollback && !transition.to.isFinished ? " (rollback)" : ""
                return [
                    String(transition.sequence), transition.at.description, transition.migration, name(transition.server),
                    transition.mode.rawValue, transition.to.rawValue + rollback,
                    transition.attempt > 0 ? String(transition.attempt) : nil, name(transition.sourceHost),
                    transition.targetHost.map(name), transition.step, transition.actor,
                    transition.reason.map { $0.description.wrapped(60) },
                ]
            }
        ).text
    }

    static func statistics(_ statistics: [StatisticsView], by dimensions: [String]) -> String {
        Table(
            dimensions.map(\.capitalized) + [
                "Count", "Ready", "Failed", "Total p50", "p95", "p99", "Blackout p50", "p95 ", "p99 ", "Moved p50",
            ],
            rows: statistics.map { one in
                dimensions.map { one.key[$0] } + [
                    String(one.count), String(one.ready), String(one.failed), one.totalMS.map { time($0.p50 * 1000) },
                    one.totalMS.map { time($0.p95 * 1000) }, one.totalMS.map { time($0.p99 * 1000) }, one.blackoutUS.map { time($0.p50) },
                    one.blackoutUS.map { time($0.p95) }, one.blackoutUS.map { time($0.p99) }, one.bytes.map { Amounts.bytes($0.p50) },
                ]
            }
        ).text
    }

    static func flaws(_ flaws: [VerificationView.Flaw]) -> String {
        Table(
            ["Migration", "Flaw", "Number", "What"],
            rows: flaws.map { [$0.migration, $0.kind, $0.sequence.map(String.init), $0.message.wrapped(60)] }
        ).text
    }

    private static func time(_ microseconds: Int64) -> String { Amounts.span(microseconds: microseconds) }

    /// Its name, or its id where only that is left of it.
    private static func name(_ thing: Named) -> String { thing.name.isEmpty ? thing.id : thing.name }
}
