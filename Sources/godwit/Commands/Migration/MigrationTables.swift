import Client
import Fleet
import Output

/// Migrations and what belongs to them as tables.
enum MigrationTables {
    static let columns = Columns<MigrationView>(
        usual: ["ID", "Server", "Mode", "State", "Source", "Target", "Attempt", "Created_at", "Total", "Blackout", "Reason"],
        details: ["Server_id", "Prefer_host", "max_bandwidth_mb", "Actor", "cancel_requested", "Awaiting", "Finished_at", "Message"],
        cells: [
            "State": state,
            "Attempt": { $0.attempt > 1 ? String($0.attempt) : nil },
            "Total": { $0.totalMS.map { Amounts.span(microseconds: $0 * 1000) } },
            "Blackout": { $0.blackout.map { Amounts.span(microseconds: $0.totalUS) } },
            "cancel_requested": { $0.cancelRequested ? "true" : nil },
            "Message": { $0.reason?.message.wrapped(60) },
        ])

    static func one(_ migration: MigrationView) -> String {
        Table(fields: [
            "id": migration.id,
            "server": name(migration.server),
            "mode": migration.mode.rawValue,
            "state": state(migration),
            "cancel_requested": migration.cancelRequested ? "true" : nil,
            "awaiting": migration.awaiting,
            "reason": migration.reason.map { $0.description.wrapped(80) },
            "source_host": name(migration.sourceHost),
            "target_host": migration.targetHost.map(name),
            "options": options(migration),
            "attempt": migration.attempt > 0 ? "\(migration.attempt) of \(migration.maxAttempts)" : nil,
            "progress": migration.progress.map(progress),
            "blackout": migration.blackout.map(blackout),
            "actor": migration.actor,
            "priority": migration.priority == 0 ? nil : String(migration.priority),
            "created_at": migration.createdAt.description,
            "deadline_at": migration.deadlineAt?.description,
            "finished_at": migration.finishedAt?.description,
            "total": migration.totalMS.map { Amounts.span(microseconds: $0 * 1000) },
        ]).text
    }

    static func history(_ transitions: [TransitionView]) -> String {
        let start = transitions.first?.at.timestamp
        return Table(
            ["Time", "After", "State", "Attempt", "Target", "Step", "Actor", "Reason", "Numbers"],
            rows: transitions.map { transition in
                let rollback = transition.direction == .rollback ? " (rollback)" : ""
                return [
                    transition.at.description, start.map { Amounts.seconds(milliseconds: transition.at.timestamp - $0) },
                    transition.to.rawValue + (transition.to.isFinished ? "" : rollback),
                    transition.attempt > 0 ? String(transition.attempt) : nil, transition.targetHost.map(name), transition.step,
                    transition.actor, transition.reason.map { $0.description.wrapped(60) },
                    transition.numbers.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "\n"),
                ]
            }
        ).text
    }

    static func cleanups(_ cleanups: [CleanupView]) -> String {
        Table(
            ["ID", "Kind", "Server", "Host", "Migration", "Attempt", "Tries", "Due_at", "Last_error"],
            rows: cleanups.map { cleanup in
                [
                    cleanup.id, cleanup.kind.rawValue, name(cleanup.server), name(cleanup.host), cleanup.migration,
                    String(cleanup.attempt), String(cleanup.tries), cleanup.dueAt.description, cleanup.lastError?.wrapped(60),
                ]
            }
        ).text
    }

    /// A line for each that has a meaning in its mode, those at their default too, so that nobody has to know the defaults.
    private static func options(_ migration: MigrationView) -> String {
        let options = migration.options
        let none = "none"
        var lines: [(String, String)] = [("prefer_host", options.preferHost.map(name) ?? none)]
        if migration.mode != .live { lines.append(("auto_start", String(options.autoStart))) }
        if migration.mode == .rescue { lines.append(("confirm_host_down", String(options.confirmHostDown))) }
        if migration.mode != .rescue {
            lines.append(("max_bandwidth_mb", options.maxBandwidthMB.map(String.init) ?? none))
            lines.append(("enable_tls", String(options.enableTLS)))
        }
        if migration.mode == .live {
            lines += [
                ("cpu_check", options.skipCPUCheck ? "skipped" : options.cpuCheck.rawValue),
                ("kernel_check", options.skipKernelCheck ? "skipped" : "exact"),
                ("downtime_limit_ms", String(options.downtimeLimitMS)),
                ("quickly_finish", options.quicklyFinish ? "up to \(options.maxDowntimeMS) ms" : "false"),
                ("auto_converge", String(options.autoConverge)), ("post_copy", String(options.postCopy)),
                ("multifd", options.multifd.map(String.init) ?? none),
                ("keep_dest_guest_on_failed", String(options.keepDestGuestOnFailed)), ("eject_cdrom", String(options.ejectCDROM)),
            ]
        }
        if migration.mode != .rescue { lines.append(("stall_timeout_s", String(options.stallTimeoutS))) }
        lines.append(("timeout_s", options.timeoutS.map(String.init) ?? "by size"))
        return lines.map { "\($0.0): \($0.1)" }.joined(separator: "\n")
    }

    @Sendable private static func state(_ migration: MigrationView) -> String {
        migration.direction == .rollback && !migration.state.isFinished
            ? "\(migration.state.rawValue) (rollback)" : migration.state.rawValue
    }

    private static func progress(_ progress: ProgressView) -> String {
        var parts: [String] = []
        if progress.diskTotalBytes > 0 { parts.append("disk \(Amounts.bytes(progress.diskDoneBytes, of: progress.diskTotalBytes))") }
        if progress.memoryTotalBytes > 0 {
            parts.append("memory \(Amounts.bytes(progress.memoryTransferredBytes)) sent of \(Amounts.bytes(progress.memoryTotalBytes))")
            parts.append("round \(progress.round)")
        }
        if progress.throttlePercent > 0 { parts.append("throttle \(progress.throttlePercent)%") }
        return parts.joined(separator: ", ")
    }

    /// The whole, then its parts in the order in which they happened.
    private static func blackout(_ blackout: BlackoutView) -> String {
        let parts = [
            ("last pass", blackout.lastPassUS), ("disk drain", blackout.diskDrainUS), ("device state", blackout.deviceStateUS),
            ("handover", blackout.handoverUS), ("resume", blackout.resumeUS),
        ]
        return Amounts.span(microseconds: blackout.totalUS) + "\n"
            + parts.map { "  \($0.0) \(Amounts.span(microseconds: $0.1))" }.joined(separator: "\n")
    }

    /// Its name, or its id where only that is left of it.
    private static func name(_ thing: Named) -> String { thing.name.isEmpty ? thing.id : thing.name }
}
