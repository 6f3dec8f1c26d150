import AgentAPI
import Fleet

/// Files in storages that nobody's record names.
extension View {
    func entries() -> [Finding] {
        var told: Set<String> = []
        return seen.flatMap { host, inventory, _ in
            inventory.entries.compactMap { entry in
                guard let finding = leftover(entry, on: host, inventory) else { return nil }
                // Every host sees what lies on a shared one.
                guard entry.kind == .local || told.insert("\(entry.storage)/\(entry.name)").inserted else { return nil }
                return finding
            }
        }
    }

    private func leftover(_ entry: StorageEntry, on host: Host, _ inventory: Inventory) -> Finding? {
        guard !entry.isKept else { return nil }
        if entry.name.hasPrefix(".kept-"), !inventory.troubles.isEmpty { return nil }
        let server = ServerID(entry.name)
        guard placed[server] == nil, !isClaimed(server, entry, on: host) else { return known(server, entry, on: host) }
        // One that was just being created or deleted.
        guard isUnknown(server), !isClaimed(server, entry, on: host), !isToBeCleaned(server, on: host.id) else { return nil }
        let isForgotten = books[host.id]?[server] != nil
        return Finding(
            .warning, .leftoverDisk, server: isForgotten ? server : nil, host: entry.kind == .local ? host.id : nil, subject: entry.path,
            "\(entry.path) on \(entry.kind == .local ? host.name : "the shared storage \(entry.storage)") (\(entry.bytes >> 20) MiB) is of no server that \(isForgotten ? "the store still knows" : "is known").",
            remedy: "See whether somebody needs it; then move it out of the storage, or delete it.")
    }

    /// A record, of this host or where all see it of any, has something there.
    private func isClaimed(_ server: ServerID, _ entry: StorageEntry, on host: Host) -> Bool {
        let claims = entry.kind == .local ? [books[host.id]?[server]] : books.values.map { $0[server] }
        return claims.contains { book in
            guard let book else { return false }
            return book.tenure != .none || book.hasCopies || !book.ends.isEmpty || book.pid != nil || book.obstacle != nil
        }
    }

    /// Of a server that the store has elsewhere.
    private func known(_ server: ServerID, _ entry: StorageEntry, on host: Host) -> Finding? {
        guard entry.kind == .local, let settled = settled(server), settled.host != host.id, !isClaimed(server, entry, on: host),
            !isToBeCleaned(server, on: host.id)
        else { return nil }
        let place = name(settled.host)
        let home = books[settled.host]?[server]
        // Never the only copy: the server must be seen whole where it is; and this host's own record must say that it is not here.
        let isProven =
            home?.tenure == .home && home?.missingDisks.isEmpty == true && books[host.id]?[server]?.tenure == GuestBook.Tenure.none
        return Finding(
            .warning, .leftoverDisk, server: server, host: host.id, subject: entry.path,
            "\(entry.path) on \(host.name) (\(entry.bytes >> 20) MiB) is of server \(settled.name), which is on \(place).",
            remedy: isProven
                ? "godwit doctor --fix removes it: server \(settled.name) is whole on \(place), and \(host.name)'s record says that it is not there."
                : "See that server \(settled.name) is whole on \(place); then delete it.",
            fix: isProven ? .clear(server, on: host.id, storage: entry.storage, epoch: settled.epoch) : nil)
    }
}
