package import Fleet
import SQL

/// What came of a host that is proven dead.
package struct HostRescue: Hashable, Sendable {
    /// Servers that are started elsewhere.
    package var submitted: [String] = []
    /// Names of servers that stay, each with why.
    package var left: [String: String] = [:]

    package init() {}
}

extension Store {
    /// Who submits rescues from hosts that are proven dead.
    package static let hostDownActor = "host-down"
    /// Before what an operator asks for.
    private static let hostDownPriority = 100
    private static let hostDownAttempts = 3
    /// How long a rescue that failed stays failed before another is tried, in milliseconds.
    private static let rescueAgainAfterMS: Int64 = 300_000

    /// Whether a host's servers are started elsewhere when it is proven dead; nil leaves what it is. Throws `notFound`, and `wrongStatus` where
    /// shutdown would be on without down.
    package func setAutoMigration(of host: HostID, onHostDown: Bool?, onHostShutdown: Bool?) async throws -> Host {
        try await write { transaction in
            let rows = try await transaction.query("SELECT \(Host.columns) FROM hosts WHERE id = \(host.value) \(dialect.lock)")
            guard let row = rows.first else { throw Self.noHost(host.value) }
            var wish = try Host(row).autoMigration
            wish.onHostDown = onHostDown ?? wish.onHostDown
            wish.onHostShutdown = onHostShutdown ?? wish.onHostShutdown
            guard wish.onHostDown || !wish.onHostShutdown else {
                throw StoreError(
                    .wrongStatus,
                    "auto_migrate_on_host_shutdown needs auto_migrate_on_host_down: enable that too, or disable auto_migrate_on_host_shutdown."
                )
            }
            return try Host(
                only(
                    await transaction.query(
                        """
                        UPDATE hosts SET auto_migrate_on_host_down = \(wish.onHostDown),
                            auto_migrate_on_host_shutdown = \(wish.onHostShutdown)
                        WHERE id = \(host.value) RETURNING \(Host.columns)
                        """)))
        }
    }

    /// What a host's guard is to be told now that its agent has answered, written down first. The host's row is locked.
    ///
    /// While servers are being rescued on the strength of a lease that ended, no other is given: the host starts none of them meanwhile, even
    /// when it is back.
    func guardOrder(
        for host: Host, _ facts: HostFacts, leaseMS: Int64, in transaction: any SQLTransaction
    ) async throws -> GuardOrder? {
        guard host.autoMigration.onHostDown || host.guardian.isConfirmed || facts.guardian?.isArmed == true else { return nil }
        let isFenced = host.guardian.isConfirmed ? try await isRescued(from: host, in: transaction) : false
        let wish = host.autoMigration
        let step = host.guardian.step(
            isWanted: wish.onHostDown, isFenced: isFenced, isEnding: facts.isShuttingDown == true && wish.onHostShutdown,
            report: facts.guardian)
        // A store that was put back to an older state knows of fewer orders than the guard.
        let number = max(host.guardian.number, facts.guardian?.number ?? 0) + 1
        switch step {
        case .nothing: return nil
        case .lease:
            guard let boot = facts.boot else { return nil }
            try await transaction.execute(
                """
                UPDATE hosts SET guard_number = \(number),
                    guard_lease_ms = CASE WHEN guard_lease_ms > \(leaseMS) THEN guard_lease_ms ELSE \(leaseMS) END
                WHERE id = \(host.id.value)
                """)
            return GuardOrder(number: number, bootID: boot.bootID, untilMS: boot.milliseconds + leaseMS)
        case .release:
            try await transaction.execute(
                """
                UPDATE hosts SET guard_number = \(number), guard_released = \(number), guard_confirmed = 0, guard_lease_ms = 0
                WHERE id = \(host.id.value)
                """)
            return facts.boot.map { GuardOrder(number: number, bootID: $0.bootID, untilMS: nil) }
        }
    }

    private func isRescued(from host: Host, in transaction: any SQLTransaction) async throws -> Bool {
        try await transaction.query(
            """
            SELECT options FROM migrations
            WHERE source_id = \(host.id.value) AND mode = \(Mode.rescue.rawValue) AND finished_at IS NULL
            """
        ).contains { try JSON.value(MigrationOptions.self, $0.text("options")).provenByLease == host.guardian.number }
    }

    /// The guard has obeyed the lease of that number. Of no effect when nobody counts on it any more.
    package func confirmGuard(of host: HostID, number: Int64) async throws {
        _ = try await write { transaction in
            try await transaction.execute(
                "UPDATE hosts SET guard_confirmed = 1 WHERE id = \(host.value) AND guard_number >= \(number) AND guard_released < \(number)"
            )
        }
    }

    /// What people should know about a host that is offline. It goes when the host is back.
    package func noteDown(_ host: HostID, _ note: String) async throws {
        _ = try await write { transaction in
            try await transaction.execute(
                """
                UPDATE hosts SET down_note = \(note)
                WHERE id = \(host.value) AND healthy_until <= \(dialect.now) AND down_note IS DISTINCT FROM \(note)
                """)
        }
    }

    /// Submits a rescue for every server of a host that ran there, or was about to, if all of its disks are shared: all in one transaction, each
    /// once whoever else does the same, and once more some minutes after one that failed. A server that was being stopped stays off.
    ///
    /// - Parameters:
    ///   - lease: the number of the lease whose end proves that none of them runs. When it was renewed or given up meanwhile, or the host
    ///     answers, nothing happens, and nil is returned.
    package func rescueServers(of host: HostID, provenByLease lease: Int64) async throws -> HostRescue? {
        try await write { transaction in
            let rows = try await transaction.query(
                "SELECT \(Host.columns), healthy_until > \(dialect.now) AS online FROM hosts WHERE id = \(host.value) \(dialect.lock)")
            guard let row = rows.first else { throw Self.noHost(host.value) }
            let found = try Host(row)
            guard try !row.flag("online"), found.autoMigration.onHostDown, found.guardian.isConfirmed, found.guardian.number == lease else {
                return nil
            }
            let reason = Reason(
                .hostProvenDown,
                "No controller has renewed lease \(lease) of host \(found.name), whose guard had confirmed that it ends its guests with it: none of them runs, and this server is started elsewhere."
            )
            var rescue = HostRescue()
            let statuses = [ServerStatus.running, .starting, .stopping].map(\.rawValue)
            let servers = try await transaction.query(
                """
                SELECT s.id, s.name, s.status, m.mode, m.state, m.finished_at, m.reason_message, \(dialect.now) AS now FROM servers s
                LEFT JOIN migrations m ON m.id = (
                    SELECT MAX(l.id) FROM migrations l WHERE l.server_id = s.id AND l.source_id = \(host.value)
                        AND (l.finished_at IS NULL OR l.mode = \(Mode.rescue.rawValue)))
                WHERE s.host_id = \(host.value) AND (s.status IN (\(list: statuses)) OR m.finished_at IS NULL AND m.state IS NOT NULL)
                ORDER BY s.name
                """)
            for server in servers {
                let name = try server.text("name")
                if try server.optionalText("state") != nil {
                    guard let end = try server.optionalInteger("finished_at") else {
                        if try server.text("mode") != Mode.rescue.rawValue { rescue.left[name] = "its migration is not over" }
                        continue
                    }
                    if try server.integer("now") - end < Self.rescueAgainAfterMS {
                        rescue.left[name] = "its rescue failed and is tried again later: \(try server.optionalText("reason_message") ?? "")"
                        continue
                    }
                }
                do {
                    let options = MigrationOptions(
                        autoStart: try server.text("status") != ServerStatus.stopping.rawValue, provenByLease: lease)
                    _ = try await submit(
                        ServerID(try server.text("id")), .rescue, options, maxAttempts: Self.hostDownAttempts, actor: Self.hostDownActor,
                        priority: Self.hostDownPriority, reason: reason, in: transaction)
                    rescue.submitted.append(name)
                } catch let error as StoreError where [.localDisk, .busy, .wrongStatus].contains(error.code) && error.cause == nil {
                    // Refused before anything was written.
                    rescue.left[name] = error.message
                }
            }
            return rescue
        }
    }
}
