import Fleet
package import Logging
import ServiceLifecycle
package import Store
import Synchronization

/// Has the servers of hosts that are proven dead started elsewhere.
///
/// What proves it is written where ``HostGuard`` and godwit-guard's `Guardian` are. Any number of controllers do this side by side: the store
/// lets one of them submit each rescue.
package final class HostDown: Service {
    private let store: Store
    private let watch: HostWatch
    private let log: Logger
    private let timing: Timing
    private let seen = Mutex<[HostID: Seen]>([:])
    private let told = Mutex<[HostID: HostDownDecision.Verdict]>([:])

    package struct Timing: Sendable {
        package var interval: Duration
        /// A share of the hosts larger than this, in percent, is not believed to have died at once.
        package var suspiciousPercent: Int

        package init(interval: Duration = .seconds(2), suspiciousPercent: Int = 33) {
            self.interval = interval
            self.suspiciousPercent = suspiciousPercent
        }
    }

    /// How often a host that is dead is seen to again.
    private static let again = Duration.seconds(10)

    /// Since when the number of a host's last order has been the same.
    private struct Seen {
        var number: Int64
        var since: ContinuousClock.Instant
        /// Its servers were seen to, and when they will be again: one may have been in a migration, or its rescue have failed.
        var isDealtWith = false
        var next: ContinuousClock.Instant?
    }

    package init(store: Store, watch: HostWatch, log: Logger, timing: Timing = Timing()) {
        self.store = store
        self.watch = watch
        self.log = log
        self.timing = timing
    }

    package func run() async throws {
        try await untilShutdown { [self] in
            while true {
                do {
                    try await look()
                } catch is CancellationError {
                    throw CancellationError()
                } catch {
                    log.error("hosts that are down cannot be seen to", metadata: ["error": "\(error)"])
                }
                // Looked for: that a host says nothing any more is no event.
                try await Task.sleep(for: timing.interval)
            }
        }
    }

    /// All hosts, once.
    package func look() async throws {
        let (hosts, now) = try await store.hostsNow()
        let instant = ContinuousClock.now
        let records = seen.withLock { seen in
            seen = Dictionary(
                uniqueKeysWithValues: hosts.map { host in
                    guard let before = seen[host.id], before.number == host.guardian.number, !host.isOnline(at: now) || !before.isDealtWith
                    else { return (host.id, Seen(number: host.guardian.number, since: instant)) }
                    return (host.id, before)
                })
            return seen
        }
        let sightings = hosts.map { host -> (Host, HostDownDecision.Sighting) in
            let since = records[host.id]?.since ?? instant
            return (host, HostDownDecision.Sighting(host, at: now, since: since, instant, isSilent: watch.isSilent(host.id)))
        }
        let down = sightings.count { host, sight in
            !sight.isOnline && sight.isWanted && sight.isConfirmed && !sight.wasShutDown && records[host.id]?.isDealtWith != true
        }
        let suspicion = HostDownDecision.suspects(
            down: down, online: sightings.count { $0.1.isOnline }, .init(percent: timing.suspiciousPercent))
        for (host, sight) in sightings { try await act(on: host, HostDownDecision.verdict(on: sight, isSuspicious: suspicion)) }
    }

    private func act(on host: Host, _ verdict: HostDownDecision.Verdict) async throws {
        let isNews = told.withLock { $0.updateValue(verdict.kind, forKey: host.id) } != verdict.kind
        if let note = verdict.note(on: host.name) {
            if isNews { log.warning("\(note)", metadata: ["host": "\(host.name)"]) }
            if note != host.downNote { try await store.noteDown(host.id, note) }
        }
        let isDue = seen.withLock { $0[host.id]?.next.map { $0 <= .now } ?? true }
        guard verdict == .dead, isDue, let rescue = try await store.rescueServers(of: host.id, provenByLease: host.guardian.number) else {
            return
        }
        seen.withLock { seen in
            seen[host.id]?.isDealtWith = true
            seen[host.id]?.next = .now + Self.again
        }
        if !rescue.submitted.isEmpty {
            log.warning(
                "a host is proven dead, and its servers are started elsewhere",
                metadata: [
                    "host": "\(host.name)", "lease": "\(host.guardian.number)", "servers": "\(rescue.submitted.joined(separator: ", "))",
                ])
        }
        let note = Self.note(rescue, of: host)
        guard note != host.downNote else { return }
        try await store.noteDown(host.id, note)
        for (server, why) in rescue.left.sorted(by: { $0.key < $1.key }) {
            log.warning("a server stays on a dead host", metadata: ["host": "\(host.name)", "server": "\(server)", "why": "\(why)"])
        }
    }

    private static func note(_ rescue: HostRescue, of host: Host) -> String {
        let left = rescue.left.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        return
            "\(host.name) is proven dead: no controller has renewed its lease \(host.guardian.number), which its guard had confirmed."
            + (left.isEmpty ? " Its servers that can be are started elsewhere." : " These stay: \(left.joined(separator: "; "))")
    }
}

extension HostDownDecision.Sighting {
    init(_ host: Host, at now: Timestamp, since: ContinuousClock.Instant, _ instant: ContinuousClock.Instant, isSilent: Bool) {
        self.init(
            isWanted: host.autoMigration.onHostDown, isOnline: host.isOnline(at: now),
            wasShutDown: host.facts?.isShuttingDown == true && !host.autoMigration.onHostShutdown, isConfirmed: host.guardian.isConfirmed,
            leaseMS: host.guardian.leaseMS, unchangedMS: since.duration(to: instant).inMilliseconds, isSilent: isSilent)
    }
}

extension HostDownDecision.Verdict {
    /// The same verdict whatever its numbers.
    fileprivate var kind: Self {
        switch self {
        case .notYet: .notYet(0)
        case .held: .held(down: 0, of: 0)
        default: self
        }
    }

    /// What people are told; nil where there is nothing, or the rescue tells it.
    fileprivate func note(on host: String) -> String? {
        switch self {
        case .none, .dead: nil
        case .shutDown: "\(host) was shut down in order, and auto-migrate-on-host-shutdown is disabled: its servers stay off."
        case .unproven:
            "\(host) does not answer, and nothing proves it dead: its guard had confirmed no lease, or was gone. Nothing is started elsewhere. Make sure that it is off, and rescue its servers by server-migrate --rescue-mode --confirm-host-down."
        case .notYet: "\(host) does not answer; its guests end with its lease, and until that is certain nothing is started elsewhere."
        case .held(let down, let all):
            "\(host) does not answer, and neither do others: \(down) of \(all) hosts at once. This is taken for a fault of the network or of the controllers, and nothing is started elsewhere until fewer are down. If they are off, rescue their servers by server-migrate --rescue-mode --confirm-host-down."
        }
    }
}
