import AgentAPI
import Attempts
import Fleet
import SQL

/// Sees everything at once, and says which rule of the design's chapter 4 was broken, as soon as it is.
final class Checker: @unchecked Sendable {
    // Belongs to the world's thread.

    unowned var world: World!
    /// The first breach; nothing after it counts.
    private(set) var breach: String?
    private var epochs: [String: Epoch] = [:]
    private var sentBytes: [String: Int64] = [:]
    private var books = Books()
    /// What each host has called off, as source or as target.
    private var calledOff: Set<String> = []
    private var stoodSince: [Int: Int64] = [:]

    func fail(_ rule: String, _ text: @autoclosure () -> String) {
        guard breach == nil else { return }
        breach = "rule \(rule): \(world.plain(text()))"
        world.tell(breach ?? "")
    }

    // MARK: guests

    func began(_ machine: Machine) {
        let server = world.server(machine.server)
        for host in world.hosts {
            if let other = host.machine(machine.server), other !== machine, other.isRunning {
                fail("2", "guests of \(machine.server) run on \(other.host.name) and on \(machine.host.name)")
            }
        }
        let tenure = machine.host.records[machine.server]?.tenure ?? .none
        if tenure != .home {
            fail("2", "the guest of \(machine.server) runs on \(machine.host.name), whose record says \(tenure.rawValue)")
        }
        if machine.life < server.highest {
            fail(
                "2",
                "the guest of \(machine.server) runs on \(machine.host.name) from \(machine.life), and it had reached \(server.highest) already"
            )
        }
        guard !server.isShared else { return }
        let content = machine.host.content[machine.server]
        if content != machine.life {
            fail(
                "7",
                "the guest of \(machine.server) runs on \(machine.host.name) from \(machine.life) on disks that hold \(content.map(String.init) ?? "nothing")"
            )
        }
    }

    func stopped(_ machine: Machine) {
        let server = world.server(machine.server)
        server.highest = max(server.highest, machine.life)
        if !server.isShared { machine.host.content[machine.server] = machine.life }
    }

    /// A mirror has written into the target's disk.
    func wrote(to target: Machine, from source: Machine) {
        if target.isRunning {
            fail("2", "a mirror from \(source.host.name) writes under the guest of \(source.server) that runs on \(target.host.name)")
        }
    }

    // MARK: agents

    func obeyed(_ epoch: Epoch, _ server: ServerID, _ host: SimulatedHost, _ order: String) {
        let place = "\(host.name) \(server)"
        if let known = epochs[place], epoch < known {
            fail("4", "\(host.name) obeyed \(order) of \(server) under epoch \(epoch) after one under \(known)")
        }
        epochs[place] = max(epochs[place] ?? .none, epoch)
    }

    /// An attempt that was called off at this end does not begin here any more, whatever order of it comes late.
    private func remember(_ before: GuestRecord, _ after: GuestRecord, on host: SimulatedHost) {
        func place(_ end: String, _ key: AttemptKey) -> String { "\(host.name) \(end) \(key.migration)/\(key.attempt)" }
        func begins(_ end: String, _ now: AttemptKey?, _ then: AttemptKey?) {
            guard let now, now != then, calledOff.contains(place(end, now)) else { return }
            fail("4", "\(host.name) begins \(world.name(now)) as its \(end), which had been called off there")
        }
        begins("source", after.outgoing?.key, before.outgoing?.key)
        begins("lender", after.loan?.key, before.loan?.key)
        begins("target", after.incoming?.key, before.incoming?.key)
        begins("target", after.adopting?.key, before.adopting?.key)
        for (end, now, then) in [
            ("source", after.aborted, before.aborted), ("lender", after.takenBack, before.takenBack),
            ("target", after.refused, before.refused),
        ] where now?.count ?? 0 > then?.count ?? 0 {
            if let key = now?.last { calledOff.insert(place(end, key)) }
        }
    }

    /// What was handed over is the source's again only with a refusal that the target has on its disk.
    func changed(_ before: GuestRecord, _ after: GuestRecord, on host: SimulatedHost) {
        remember(before, after, on: host)
        var key: AttemptKey?
        if let was = before.outgoing, was.phase == .handedOver, let now = after.outgoing, now.key == was.key, now.phase == .memory {
            key = was.key
        }
        if let was = before.loan, was.phase == .yielded, let now = after.loan, now.key == was.key, now.phase == .returned { key = was.key }
        guard let key, !world.hosts.contains(where: { $0.records[before.server]?.refused.contains(key) == true }) else { return }
        fail("6", "\(host.name) takes \(before.server) back that it handed over in \(world.name(key)), and nobody has refused it")
    }

    func removes(_ server: ServerID, _ host: SimulatedHost) {
        guard !world.server(server).isShared, let content = host.content[server], content >= 0 else { return }
        if host.machine(server)?.isRunning == true { fail("7", "disks of \(server) are removed on \(host.name) under its guest") }
        guard content >= world.server(server).highest, placement(of: server) == host.name else { return }
        fail("7", "the disks of \(server) are removed on \(host.name), where it is placed")
    }

    private func placement(of server: ServerID) -> String? {
        let rows = try? world.database.run(
            "SELECT h.name FROM servers s JOIN hosts h ON h.id = s.host_id WHERE s.id = \(server.value)")
        return try? rows?.first?.text("name")
    }

    // MARK: bytes

    func sent(_ bytes: Int64, of disk: String, _ machine: Machine) {
        guard let key = machine.host.records[machine.server]?.outgoing?.key else { return }
        count(bytes, key, machine.server)
    }

    func copied(_ bytes: Int64, _ key: AttemptKey, _ server: ServerID) { count(bytes, key, server) }

    private func count(_ bytes: Int64, _ key: AttemptKey, _ server: ServerID) {
        let place = "\(key.migration)/\(key.attempt)"
        sentBytes[place, default: 0] += bytes
        guard sentBytes[place, default: 0] > world.server(server).diskBytes else { return }
        fail("5", "\(sentBytes[place, default: 0]) bytes were sent in \(world.name(key)) of a disk of \(world.server(server).diskBytes)")
    }

    // MARK: time

    /// No guest stands still for long before its switchover, unless its agent is away or it was handed over.
    func lookAtWindows() {
        for host in world.hosts {
            for machine in host.machines.values where machine.isAlive {
                guard machine.memory == .preSwitchover, host.agent != nil else {
                    stoodSince[machine.number] = nil
                    continue
                }
                let since = stoodSince[machine.number] ?? world.loop.now
                stoodSince[machine.number] = since
                if world.loop.now - since > 7_000_000 {
                    fail("9", "the guest of \(machine.server) stands still on \(host.name) for 7 s, and nobody ends that")
                }
            }
        }
    }

    // MARK: the store

    /// What must be so after every commit.
    /// - Parameter process: whose it was.
    func lookAtStore(after process: Process) {
        do {
            let flaw = try books.follow(world.database, writer: process.isMortal ? process.holder : nil) { server, host in
                guard world.host(host)?.records[ServerID(server)]?.tenure != .home else { return }
                fail("3", "\(server) was placed on \(host), which does not own it")
            }
            if let flaw { fail(flaw.rule, flaw.what) }
        } catch {
            fail("3", "the store cannot be looked at: \(error)")
        }
    }

    /// The same once more, from all that is there: what was followed row by row may have missed something.
    func lookAtAllOfTheStore() {
        do {
            for row in try world.database.run(Self.contradictions) {
                let (rule, what) = (try row.text("rule"), try row.text("what"))
                fail(rule, what)
            }
        } catch {
            fail("3", "the store cannot be looked at: \(error)")
        }
    }

    private static let contradictions: SQLStatement = """
        SELECT '1' AS rule, 'more than one unfinished migration of ' || server_id AS what
            FROM migrations WHERE finished_at IS NULL GROUP BY server_id HAVING COUNT(*) > 1
        UNION ALL SELECT '8', 'a reservation of ' || m.id || ', which has no use for it'
            FROM reservations r JOIN migrations m ON m.id = r.migration_id WHERE m.finished_at IS NOT NULL OR m.target_id IS NOT r.host_id
        UNION ALL SELECT '8', m.id || ' is ' || m.state || ' and has reserved nothing'
            FROM migrations m WHERE m.finished_at IS NULL AND m.state IN ('syncing-disk', 'syncing-memory', 'switching')
            AND NOT EXISTS (SELECT 1 FROM reservations r WHERE r.migration_id = m.id)
        UNION ALL SELECT '8', 'more is promised than there is on ' || h.name
            FROM hosts h WHERE h.memory_capacity < COALESCE((SELECT SUM(s.memory) FROM servers s WHERE s.host_id = h.id), 0)
                + COALESCE((SELECT SUM(r.memory) FROM reservations r WHERE r.host_id = h.id), 0)
        UNION ALL SELECT '3', 'the history of ' || m.id || ' does not end with ' || m.state
            FROM migrations m WHERE m.state IS NOT
                (SELECT t.to_state FROM transitions t WHERE t.migration_id = m.id ORDER BY t.seq DESC LIMIT 1)
        UNION ALL SELECT '3', s.id || ' is not where ' || m.id || ' has brought it'
            FROM servers s JOIN migrations m ON m.id =
                (SELECT MAX(x.id) FROM migrations x WHERE x.server_id = s.id AND x.state = 'ready')
            WHERE m.target_id <> s.host_id
        """
}
