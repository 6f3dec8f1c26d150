import AgentAPI
import Fleet

/// What is to be done and is not, hosts themselves, and certificates.
extension View {
    func hosts() -> [Finding] {
        look.after.hosts.flatMap { host -> [Finding] in
            switch look.hosts[host.id] {
            case nil: return []
            case .silent(let why):
                let servers = look.after.servers.filter { $0.host == host.id }
                let running = servers.filter { $0.status == .running }.count
                return [
                    Finding(
                        running > 0 ? .critical : .warning, .hostSilent, host: host.id,
                        "\(host.name) gives no answer; \(servers.count) servers are placed there, \(running) of them running by the store. \(why)",
                        remedy:
                            "See whether the host is up and its godwit-agent runs. What is off for good: godwit server-migrate --rescue-mode --confirm-host-down."
                    )
                ]
            case .seen(let inventory, let skewMS): return unclear(host, inventory) + version(host, inventory) + clock(host, skewMS)
            }
        }
    }

    private func unclear(_ host: Host, _ inventory: Inventory) -> [Finding] {
        let storages = inventory.unseen.sorted { $0.key < $1.key }.map { storage, why in
            Finding(
                .warning, .hostUnclear, host: host.id, subject: "storage \(storage)",
                "Storage \(storage) of \(host.name) could not be looked at: \(why)", remedy: "See whether it is mounted and answers.")
        }
        let troubles = inventory.troubles.map { trouble in
            Finding(
                .warning, .hostUnclear, host: host.id, subject: "agent", "On \(host.name) \(trouble)",
                remedy: "See the log of its godwit-agent.")
        }
        let guests = inventory.guests.filter { !isUnknown($0.server) }.compactMap { book in
            book.obstacle.map { why in
                Finding(
                    .warning, .hostUnclear, server: book.server, host: host.id,
                    "What the guest of server \(name(book.server)) does on \(host.name) is not known: \(why)",
                    remedy: "Wait, or end it with godwit server-stop --force \(name(book.server)).")
            }
        }
        return storages + troubles.prefix(1) + guests
    }

    private func version(_ host: Host, _ inventory: Inventory) -> [Finding] {
        guard inventory.apiVersion != AgentVersion.current else { return [] }
        let older = inventory.apiVersion < AgentVersion.current ? "the agent of \(host.name)" : "this controller"
        return [
            Finding(
                .note, .versionBehind, host: host.id,
                "The agent of \(host.name) has version \(inventory.apiVersion) of the agents' interface, this controller \(AgentVersion.current): they work together, the next version will not.",
                remedy: "Bring \(older) up to date.")
        ]
    }

    private func clock(_ host: Host, _ skewMS: Int64) -> [Finding] {
        guard abs(skewMS) > Diagnosis.Limits.clockMS else { return [] }
        return [
            Finding(
                .warning, .clockOff, host: host.id,
                "The clock of \(host.name) is \(abs(skewMS) / 1000) s \(skewMS > 0 ? "ahead of" : "behind") the store's. Godwit decides nothing by it; certificates are judged by it, and its logs tell wrong times.",
                remedy: "Have chrony or another NTP client set it.")
        ]
    }

    func work() -> [Finding] {
        let before = Set(look.before.migrations.map(\.id))
        let migrations = look.after.migrations.filter { before.contains($0.id) }
        return migrations.compactMap(stale) + migrations.compactMap(awaiting) + leaked() + cleanups()
    }

    private func stale(_ migration: Migration) -> Finding? {
        guard let lease = look.after.leases[migration.id], look.before.leases[migration.id] == lease,
            now > lease.until + Diagnosis.Limits.lease
        else { return nil }
        return Finding(
            .warning, .staleLease, server: migration.server, migration: migration.id,
            "Migration \(migration.id) of server \(name(migration.server)) is \(migration.state.rawValue), its lease (\(lease.owner)) ended \(span(now - lease.until)) ago, and no worker goes on with it.",
            remedy: "Start a godwit-worker on this store, or see why those that run cannot claim it.")
    }

    private func awaiting(_ migration: Migration) -> Finding? {
        guard let what = migration.awaiting, let since = look.after.lastChanges[migration.id], now > since + Diagnosis.Limits.awaiting
        else {
            return nil
        }
        return Finding(
            .warning, .migrationAwaiting, server: migration.server, migration: migration.id,
            "Migration \(migration.id) of server \(name(migration.server)) has waited for \(span(now - since)): \(what)",
            remedy: "Bring about what it waits for, or end it where that is possible: godwit migration-cancel \(migration.id).")
    }

    private func leaked() -> [Finding] {
        look.after.leaked.filter { look.before.leaked[$0.key] == $0.value }.map { migration, host in
            Finding(
                .warning, .reservationLeaked, host: host, migration: migration,
                "Migration \(migration) is over and still holds room on \(name(host)).", remedy: "godwit doctor --fix lets go of it.",
                fix: .release(migration))
        }
    }

    private func cleanups() -> [Finding] {
        let before = Set(look.before.cleanups.map(\.id))
        return look.after.cleanups.filter { before.contains($0.id) }.compactMap { cleanup in
            let isLate = now > cleanup.dueAt + Diagnosis.Limits.cleanup
            guard isLate || cleanup.tries >= Diagnosis.Limits.cleanupTries else { return nil }
            var isSilent = false
            if case .silent = look.hosts[cleanup.host] { isSilent = true }
            let what = "What migration \(cleanup.migration) left of server \(name(cleanup.server)) on \(name(cleanup.host))"
            return Finding(
                isSilent ? .note : .warning, .cleanupOverdue, server: cleanup.server, host: cleanup.host, migration: cleanup.migration,
                subject: cleanup.id,
                isLate
                    ? "\(what) has been due for removal for \(span(now - cleanup.dueAt)), and no worker takes it up."
                    : "\(what) could not be removed \(cleanup.tries) times: \(cleanup.lastError ?? "no reason is known").",
                remedy: isSilent
                    ? "It is removed by itself when \(name(cleanup.host)) is back."
                    : isLate ? "Start a godwit-worker on this store." : "Mend what the reason says; it is tried again by itself.")
        }
    }

    func certificates() -> [Finding] {
        let own = look.certificates.flatMap { certificate(of: nil, $0) }
        let authority = look.certificates.first { $0.kind == .authority }
        return own
            + seen.flatMap { host, inventory, _ in
                // The one authority is told of once.
                inventory.certificates.filter { $0.kind == .own || $0.end != authority?.end }.flatMap { certificate(of: host, $0) }
            }
    }

    private func certificate(of host: Host?, _ certificate: CertificateEnd) -> [Finding] {
        let leftMS = certificate.end - now
        guard leftMS < Diagnosis.Limits.certificateDays * 86_400_000 else { return [] }
        let place = host.map { " of \($0.name)" } ?? " of this controller"
        let what = "The \(certificate.kind == .own ? "certificate" : "authority's certificate")\(place) (\(certificate.path))"
        let remedy =
            certificate.kind == .own
            ? "Issue it anew with godwit ca-issue, and start the process again."
            : "Make a new authority with godwit ca-create, and issue every certificate anew by it."
        return [
            Finding(
                leftMS <= 0 ? .critical : .warning, leftMS <= 0 ? .certificateEnded : .certificateEnding, host: host?.id,
                subject: certificate.path,
                leftMS <= 0 ? "\(what) has ended on \(certificate.end)." : "\(what) ends on \(certificate.end), in \(span(leftMS)).",
                remedy: remedy)
        ]
    }

    private func span(_ milliseconds: Int64) -> String {
        let minutes = milliseconds / 60_000
        if minutes < 1 { return "\(milliseconds / 1000) s" }
        if minutes < 120 { return "\(minutes) min" }
        return minutes < 48 * 60 ? "\(minutes / 60) h" : "\(minutes / 1440) days"
    }
}
