import AgentAPI
import Fleet

/// Compares what the store says with what is. Pure: looks go in, findings come out.
///
/// What a migration or an operation is at work on explains itself, and is no finding; nor is what changed while it was looked at.
package enum Diagnosis {
    package enum Limits {
        /// How long ago a lease must have ended for nobody to be coming.
        package static let lease = Duration.seconds(60)
        package static let awaiting = Duration.seconds(600)
        /// How long a cleanup may be due and not taken up.
        package static let cleanup = Duration.seconds(300)
        /// How often a cleanup may fail before that is told.
        package static let cleanupTries = 8
        package static let clockMS: Int64 = 5000
        package static let certificateDays: Int64 = 30
    }

    /// What two looks, one after the other, agree on, in the order in which it should be read.
    package static func confirmed(_ first: [Finding], by second: [Finding]) -> [Finding] {
        let known = Set(first.map(\.identity))
        return sorted(second.filter { known.contains($0.identity) })
    }

    package static func findings(of look: Look) -> [Finding] {
        let view = View(look)
        return sorted(view.hosts() + view.guests() + view.servers() + view.entries() + view.work() + view.certificates())
    }

    private static func sorted(_ findings: [Finding]) -> [Finding] {
        func words(_ finding: Finding) -> [String] {
            [
                finding.kind.rawValue, finding.host?.value ?? "", finding.server?.value ?? "", finding.migration?.value ?? "",
                finding.subject ?? "",
            ]
        }
        return findings.sorted { left, right in
            left.severity == right.severity ? words(left).lexicographicallyPrecedes(words(right)) : left.severity < right.severity
        }
    }
}

/// A look with its parts to be found by their ids.
struct View {
    let look: Look
    let known: [HostID: Host]
    let placed: [ServerID: Server]
    private let earlier: [ServerID: Server]
    /// Servers with an unfinished migration, before or after.
    private let moving: Set<ServerID>
    let books: [HostID: [ServerID: GuestBook]]

    init(_ look: Look) {
        self.look = look
        known = Dictionary(look.after.hosts.map { ($0.id, $0) }) { first, _ in first }
        placed = Dictionary(look.after.servers.map { ($0.id, $0) }) { first, _ in first }
        earlier = Dictionary(look.before.servers.map { ($0.id, $0) }) { first, _ in first }
        moving = Set((look.before.migrations + look.after.migrations).map(\.server))
        books = look.hosts.compactMapValues { sight in
            guard case .seen(let inventory, _) = sight else { return nil }
            return Dictionary(inventory.guests.map { ($0.server, $0) }) { first, _ in first }
        }
    }

    var now: Timestamp { look.after.now }

    func name(_ host: HostID) -> String { known[host]?.name ?? host.value }

    func name(_ server: ServerID) -> String { (placed[server] ?? earlier[server])?.name ?? server.value }

    /// Hosts that answered, in the order of their names.
    var seen: [(host: Host, inventory: Inventory, skewMS: Int64)] {
        look.after.hosts.compactMap { host in
            guard case .seen(let inventory, let skew) = look.hosts[host.id] else { return nil }
            return (host, inventory, skew)
        }
    }

    func isUnknown(_ server: ServerID) -> Bool { placed[server] == nil && earlier[server] == nil && !moving.contains(server) }

    /// The server where nothing is at work on it and nothing has changed about it while it was looked at.
    func settled(_ server: ServerID) -> Server? {
        guard let now = placed[server], let before = earlier[server], !moving.contains(server), [.ready, .running].contains(now.status),
            now.epoch == before.epoch, now.status == before.status, now.host == before.host,
            now.isPaused == before.isPaused
        else { return nil }
        return now
    }

    /// That what is left of a server on a host is to be removed is written down already.
    func isToBeCleaned(_ server: ServerID, on host: HostID) -> Bool {
        (look.before.cleanups + look.after.cleanups).contains { $0.server == server && $0.host == host }
    }
}
