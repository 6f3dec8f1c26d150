package import Fleet

/// How far a migration is, told by whoever holds it under an epoch.
package struct ProgressReport: Sendable, Encodable {
    package let migration: MigrationID
    package let epoch: Epoch
    /// JSON, as the store keeps it.
    private let progress: String

    package init(_ migration: MigrationID, epoch: Epoch, _ progress: Progress) throws {
        self.migration = migration
        self.epoch = epoch
        self.progress = try JSON.text(progress)
    }
}
