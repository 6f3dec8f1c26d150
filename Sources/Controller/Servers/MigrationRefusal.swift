import Client
import Fleet

/// Why a migration cannot be accepted as things stand, in words that name the remedy. The store decides again, in its transaction, with
/// what it alone can know then.
enum MigrationRefusal {
    /// - Parameters:
    ///   - source: The host that the server is on.
    ///   - now: For whether the host is online.
    /// - Returns: nil when nothing speaks against it.
    static func problem(_ request: MigrationRequest, of server: Server, on source: Host, at now: Timestamp) -> Problem? {
        // What is under way is told by the store, which knows it by name.
        if server.status.isMigration { return nil }
        if server.status.isOperation, request.mode != .rescue || !server.status.isStartOrStop { return nil }
        switch (request.mode, server.status) {
        case (.live, .running), (.cold, .ready): return nil
        case (.live, _):
            return .conflict(
                "wrong-status",
                "The server \(server.name) is \(server.status.rawValue); it must be running to be migrated live. Start it, or use server-migrate for a server that is off."
            )
        case (.cold, _):
            let remedy =
                source.isOnline(at: now)
                ? "use server-live-migrate, or stop it first"
                : "its host \(source.name) does not answer: wait for it, or use rescue_mode (--rescue-mode) if \(source.name) is off"
            return .conflict(
                "wrong-status", "The server \(server.name) is \(server.status.rawValue), and a cold migration needs it off; \(remedy).")
        case (.rescue, _):
            return rescue(request.options, of: server, on: source, at: now)
        }
    }

    private static func rescue(_ options: MigrationOptions, of server: Server, on source: Host, at now: Timestamp) -> Problem? {
        if source.isOnline(at: now) {
            let remedy =
                switch server.status {
                case .running: "use server-live-migrate"
                case .starting, .stopping: "wait until it is no longer \(server.status.rawValue)"
                default: "use server-migrate without rescue_mode"
                }
            return .conflict(
                "host-not-down", "The host \(source.name) of the server \(server.name) answers, so there is nothing to rescue; \(remedy).",
                field: "rescue_mode")
        }
        for disk in server.description.disks {
            let storage = source.facts?.storages.first { $0.name == disk.storage }
            guard storage?.kind != .shared else { continue }
            let why = storage == nil ? "which \(source.name) does not tell to be shared" : "which only \(source.name) has"
            return .conflict(
                "local-disk",
                "The disk \(disk.name) of the server \(server.name) is on the storage \(disk.storage), \(why): a rescue would lose it. Bring \(source.name) back and use server-migrate.",
                field: "rescue_mode")
        }
        if !options.confirmHostDown {
            return .conflict(
                "host-not-down",
                "The host \(source.name) does not answer, which does not prove that it is off: the guest of \(server.name) may still run there. Make sure that \(source.name) is off, then vouch for it with confirm_host_down (--confirm-host-down).",
                field: "confirm_host_down")
        }
        return nil
    }
}
