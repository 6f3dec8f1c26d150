package import Client
import Fleet

/// A migration as one line of text that never goes backwards within a state.
package struct ProgressBar {
    private var phase: Phase?
    private var reached = 0.0

    private struct Phase: Equatable {
        let state: MigrationState
        let direction: Direction
        let attempt: Int
    }

    package init() {}

    /// Full width of the drawn bar; less where the terminal is narrow, none where nothing of it would be left.
    private static let widest = 30
    private static let narrowest = 6

    /// One line for a terminal, at most `columns` wide.
    package mutating func line(_ migration: MigrationView, columns: Int) -> String {
        let fraction = advance(migration)
        let head = head(migration)
        let tail = tail(migration, fraction)
        let fixed = (head + tail).joined(separator: "  ").displayWidth + 4
        let room = min(Self.widest, columns - 1 - fixed)
        let isMeasured = Self.amount(migration) != nil || migration.state == .switching
        let bar = isMeasured && room >= Self.narrowest ? [Self.bar(fraction, width: room)] : []
        let line = (head + bar + tail).joined(separator: "  ")
        return line.displayWidth < columns ? line : String(line.prefix(max(0, columns - 1)))
    }

    /// The same without a bar, for a log.
    package mutating func plain(_ migration: MigrationView) -> String {
        let fraction = advance(migration)
        return (head(migration) + tail(migration, fraction)).joined(separator: "  ")
    }

    /// What the last line says once it is over.
    package static func end(_ migration: MigrationView) -> String {
        let after = migration.totalMS.map { " after \(Amounts.span(microseconds: $0 * 1000))" } ?? ""
        switch migration.state {
        case .ready:
            let blackout = migration.blackout.map { ", blackout \(Amounts.span(microseconds: $0.totalUS))" } ?? ""
            return "\(migration.server.name): ready on \(migration.targetHost?.name ?? "its target")\(after)\(blackout)"
        case .failed:
            return "\(migration.server.name): failed\(after)"
        default:
            return "\(migration.server.name): \(migration.state.rawValue)"
        }
    }

    /// The share of the present state's work that is done, never less than before.
    private mutating func advance(_ migration: MigrationView) -> Double {
        let phase = Phase(state: migration.state, direction: migration.direction, attempt: migration.attempt)
        if phase != self.phase {
            self.phase = phase
            reached = 0
        }
        reached = max(reached, Self.fraction(migration))
        return reached
    }

    private static func fraction(_ migration: MigrationView) -> Double {
        guard let amount = amount(migration) else { return migration.state == .switching || migration.state == .ready ? 1 : 0 }
        return min(1, max(0, Double(amount.done) / Double(amount.total)))
    }

    /// Bytes of what the present state carries: disks, or this round of memory.
    private static func amount(_ migration: MigrationView) -> (done: Int64, total: Int64)? {
        guard let progress = migration.progress else { return nil }
        switch migration.state {
        case .syncingDisk where progress.diskTotalBytes > 0:
            return (progress.diskDoneBytes, progress.diskTotalBytes)
        case .syncingMemory where progress.memoryTotalBytes > 0:
            return (progress.memoryTotalBytes - progress.memoryRemainingBytes, progress.memoryTotalBytes)
        default:
            return nil
        }
    }

    private func head(_ migration: MigrationView) -> [String] {
        let route = migration.targetHost.map { "\(migration.sourceHost.name) -> \($0.name)" } ?? migration.sourceHost.name
        let state =
            migration.direction == .rollback && !migration.state.isFinished
            ? "\(migration.state.rawValue) (rollback)" : migration.state.rawValue
        return [migration.server.name, route, state]
    }

    private func tail(_ migration: MigrationView, _ fraction: Double) -> [String] {
        var parts: [String] = []
        if let progress = migration.progress, let amount = Self.amount(migration) {
            parts.append("\(Int(fraction * 100))%")
            parts.append(Amounts.bytes(amount.done, of: amount.total))
            parts.append(Amounts.rate(progress.rateBytesPerSecond))
            parts.append("ETA \(Amounts.remaining(progress.etaMS))")
            if migration.state == .syncingMemory {
                parts.append("round \(progress.round)")
                if progress.throttlePercent > 0 { parts.append("throttle \(progress.throttlePercent)%") }
            }
        }
        if migration.attempt > 1 { parts.append("attempt \(migration.attempt) of \(migration.maxAttempts)") }
        if let awaiting = migration.awaiting { parts.append("awaiting \(awaiting)") }
        return parts
    }

    /// `[=====>    ]`, brackets included in the width.
    package static func bar(_ fraction: Double, width: Int) -> String {
        let inner = max(1, width - 2)
        let full = min(inner, max(0, Int(fraction * Double(inner))))
        let tip = full < inner ? ">" : ""
        return "[" + String(repeating: "=", count: full) + tip + String(repeating: " ", count: inner - full - tip.count) + "]"
    }
}
