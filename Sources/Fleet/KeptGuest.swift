/// What an attempt that failed left on its target and was kept for somebody to look at: disks, console, QEMU's log. It can never run.
package struct KeptGuest: Hashable, Sendable, Codable {
    /// `server-migration-attempt`, unique on its host.
    package var id: String
    package var server: ServerID
    package var name: String
    package var migration: MigrationID
    package var attempt: Int
    /// Why the attempt ended.
    package var reason: Reason
    package var keptAt: Timestamp
    /// What its files take, in bytes.
    package var bytes: Int64
    /// Folders on the host that hold its files.
    package var folders: [String]

    package init(
        id: String, server: ServerID, name: String, migration: MigrationID, attempt: Int, reason: Reason, keptAt: Timestamp, bytes: Int64,
        folders: [String]
    ) {
        self.id = id
        self.server = server
        self.name = name
        self.migration = migration
        self.attempt = attempt
        self.reason = reason
        self.keptAt = keptAt
        self.bytes = bytes
        self.folders = folders
    }
}
