import AgentAPI
import Fleet

/// What agents have written down, held against the store.
extension View {
    func guests() -> [Finding] {
        seen.flatMap { host, inventory, _ in
            inventory.guests.flatMap { of($0, on: host) } + inventory.strays.compactMap { stray($0, on: host) }
        } + twice()
    }

    private func of(_ book: GuestBook, on host: Host) -> [Finding] {
        if isUnknown(book.server) { return unknown(book, on: host) }
        guard let server = settled(book.server), book.obstacle == nil else { return [] }
        return server.host == host.id ? here(book, server, host) : elsewhere(book, server, host)
    }

    private func unknown(_ book: GuestBook, on host: Host) -> [Finding] {
        if let leftover = leftover(book, epoch: book.epoch, on: host) { return [leftover] }
        guard book.tenure != .none || book.pid != nil, !isToBeCleaned(book.server, on: host.id) else { return [] }
        let state = book.pid.map { "QEMU runs it (pid \($0), \(book.runState ?? "its monitor does not answer"))" } ?? "it does not run"
        return [
            Finding(
                book.pid == nil ? .warning : .critical, .guestUnknown, server: book.server, host: host.id,
                "\(host.name) has a guest of server \(book.server), which the store does not know; \(state).",
                remedy:
                    "Find out whose it is before anything is done: a store that was put back to an older state may have lost it. If it is nobody's, end its QEMU on \(host.name), and delete its disks and the agent's folder guests/\(book.server)."
            )
        ]
    }

    private func here(_ book: GuestBook, _ server: Server, _ host: Host) -> [Finding] {
        var findings: [Finding] = []
        if !book.missingDisks.isEmpty, book.tenure == .home {
            findings.append(
                Finding(
                    .critical, .diskMissing, server: server.id, host: host.id,
                    "Of server \(server.name) \(list("disk", book.missingDisks)) not on \(host.name).",
                    remedy: "See whether the storage is mounted on \(host.name); else restore from a backup."))
        }
        guard book.tenure == .home else {
            return findings + [
                Finding(
                    .critical, .serverWithoutGuest, server: server.id, host: host.id,
                    "The store has server \(server.name) (\(server.status.rawValue)) on \(host.name), whose agent \(Self.told(book.tenure)).",
                    remedy:
                        "Look for its disks on every host before anything is deleted. If \(host.name) was set up anew, put the agent's state folder and the disks back from a backup."
                )
            ]
        }
        switch (server.status, book.pid != nil) {
        case (.running, false) where book.endedByGuard: break
        case (.running, false):
            findings.append(
                Finding(
                    .critical, .serverWithoutGuest, server: server.id, host: host.id,
                    "Server \(server.name) is running by the store, and no QEMU runs it on \(host.name).",
                    remedy: "godwit doctor --fix sets its status right; then godwit server-start \(server.name).",
                    fix: .settle(
                        server.id, epoch: server.epoch, .ready, isPaused: false,
                        note: Reason(
                            .guestStopped,
                            "The guest of \(server.name) ended on \(host.name) without an order; start the server to run it again."))))
        case (.ready, false) where book.isWanted && !book.endedByGuard && server.note?.code == .guestStopped:
            findings.append(
                Finding(
                    .note, .serverWithoutGuest, server: server.id, host: host.id,
                    "The guest of server \(server.name) ended on \(host.name) without an order: it shut down, or its QEMU was ended.",
                    remedy:
                        "If it should run: godwit server-start \(server.name). What QEMU said last is in qemu.log of the agent's folder."))
        case (.ready, true):
            let isPaused = book.runState.map { $0 != "running" } ?? false
            findings.append(
                Finding(
                    .warning, .serverNotExpectedRunning, server: server.id, host: host.id,
                    "Server \(server.name) is off by the store, and QEMU runs it on \(host.name) (pid \(book.pid ?? 0), \(book.runState ?? "its monitor does not answer")).",
                    remedy: "godwit doctor --fix sets its status right; then godwit server-stop \(server.name) if it should be off.",
                    fix: book.runState == nil
                        ? nil : .settle(server.id, epoch: server.epoch, .running, isPaused: isPaused, note: nil)))
        case (.running, true):
            guard let state = book.runState, ["running", "paused"].contains(state), server.isPaused != (state == "paused") else { break }
            findings.append(
                Finding(
                    .warning, .pauseDiffers, server: server.id, host: host.id,
                    "The guest of server \(server.name) \(state == "paused" ? "stands still" : "runs") on \(host.name), and the store says that it \(server.isPaused ? "is suspended" : "runs").",
                    remedy:
                        "godwit doctor --fix sets its status right; then godwit server-\(state == "paused" ? "resume" : "suspend") \(server.name) if it should be otherwise.",
                    fix: .settle(server.id, epoch: server.epoch, .running, isPaused: state == "paused", note: nil)))
        default: break
        }
        return findings
    }

    private static func told(_ tenure: GuestBook.Tenure) -> String {
        switch tenure {
        case .none: "knows nothing of it"
        case .home: "has it"
        case .awaited: "only awaits it"
        case .handedOver: "has handed it over"
        }
    }

    private func elsewhere(_ book: GuestBook, _ server: Server, _ host: Host) -> [Finding] {
        guard book.tenure != .none || book.pid != nil else { return [] }
        let place = name(server.host)
        if book.mayRun, book.tenure != .handedOver {
            return [
                Finding(
                    .critical, .guestElsewhere, server: server.id, host: host.id,
                    "A guest of server \(server.name) runs on \(host.name) (pid \(book.pid ?? 0)), and the store has the server on \(place).",
                    remedy:
                        "Do not start the server anywhere. Find out which of the two hosts has its newest disks; if those are \(place)'s, end the QEMU on \(host.name)."
                )
            ]
        }
        guard !isToBeCleaned(server.id, on: host.id) else { return [] }
        if let leftover = leftover(book, epoch: server.epoch, on: host) { return [leftover] }
        return [
            Finding(
                .warning, .leftoverDisk, server: server.id, host: host.id, subject: "record",
                "\(host.name) still has a record of server \(server.name), which is on \(place), and no cleanup is to remove it.",
                remedy:
                    "See that server \(server.name) is whole on \(place); then delete its folder guests/\(server.id) of the agent's state on \(host.name), and its disks there."
            )
        ]
    }

    /// What an attempt that is over left, for which nobody has anything to do yet. The agent refuses where that is not so.
    private func leftover(_ book: GuestBook, epoch: Epoch, on host: Host) -> Finding? {
        guard book.tenure == .handedOver || book.tenure == .awaited, !isToBeCleaned(book.server, on: host.id) else { return nil }
        let end = book.ends.last {
            $0.end == (book.tenure == .handedOver ? .source : .target) && look.after.finished[$0.key.migration] != nil
        }
        guard let end, let migration = look.after.finished[end.key.migration], migration.server == book.server,
            end.end == .target ? migration.state == .failed || migration.target != host.id : end.isGivenUp && migration.state == .ready
        else { return nil }
        return Finding(
            .warning, .leftoverDisk, server: book.server, host: host.id, migration: migration.id, subject: "attempt",
            "\(host.name) still has what attempt \(end.key.attempt) of migration \(migration.id) left there of server \(name(book.server)), and no cleanup is to remove it.",
            remedy: "godwit doctor --fix has a worker remove it.",
            fix: .clean(
                book.server, on: host.id, migration.id, attempt: end.key.attempt, end.end == .source ? .source : .target, epoch: epoch))
    }

    private func stray(_ stray: StrayProcess, on host: Host) -> Finding? {
        guard isUnknown(stray.server) || settled(stray.server) != nil, books[host.id]?[stray.server]?.obstacle == nil else { return nil }
        return Finding(
            .critical, .guestUnknown, server: stray.server, host: host.id, subject: "process",
            "On \(host.name) runs a QEMU (pid \(stray.pid)) out of the folder of server \(name(stray.server)) that the agent's record does not count as its guest.",
            remedy:
                "Somebody else started it, or the agent lost its record. See what writes to the disks, and end the one that is not the server's."
        )
    }

    private func twice() -> [Finding] {
        var running: [ServerID: [Host]] = [:]
        for (host, inventory, _) in seen {
            for book in inventory.guests where book.mayRun && book.tenure != .handedOver && book.tenure != .awaited {
                running[book.server, default: []].append(host)
            }
        }
        return running.compactMap { server, hosts in
            guard hosts.count > 1, isUnknown(server) || settled(server) != nil else { return nil }
            return Finding(
                .critical, .serverInTwoPlaces, server: server,
                "Server \(name(server)) runs on \(hosts.map(\.name).joined(separator: " and ")) at once.",
                remedy:
                    "End one of the two at once, by its pid on its host: the one whose disks are not the newest. Both write on as long as they run."
            )
        }
    }

    private func list(_ word: String, _ names: [String]) -> String {
        "\(word)\(names.count == 1 ? "" : "s") \(names.joined(separator: ", ")) \(names.count == 1 ? "is" : "are")"
    }

    /// Servers of which their host has no record at all.
    func servers() -> [Finding] {
        look.after.servers.compactMap { server in
            guard let settled = settled(server.id), let host = known[settled.host], let books = books[settled.host],
                books[server.id] == nil
            else { return nil }
            return Finding(
                .critical, .serverWithoutGuest, server: server.id, host: host.id,
                "The store has server \(server.name) (\(server.status.rawValue)) on \(host.name), whose agent knows nothing of it.",
                remedy:
                    "Look for its disks on every host before anything is deleted. If \(host.name) was set up anew, put the agent's state folder and the disks back from a backup."
            )
        }
    }
}
