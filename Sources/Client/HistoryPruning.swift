import NIOHTTP1

/// The history of a finished migration as it may be archived and pruned.
package struct PrunableView: Hashable, Sendable, Codable {
    /// Id of the migration.
    package var migration: String
    package var rows: Int
    package var lastSequence: Int64

    package init(migration: String, rows: Int, lastSequence: Int64) {
        self.migration = migration
        self.rows = rows
        self.lastSequence = lastSequence
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case migration, rows
        case lastSequence = "last_sequence"
    }
}

/// That the rows of a history were archived, all of them, and are to go.
package struct PruneHistoryRequest: Hashable, Sendable, Codable {
    package var rows: Int
    package var lastSequence: Int64
    /// What the archive is called.
    package var archive: String

    package init(rows: Int, lastSequence: Int64, archive: String) {
        self.rows = rows
        self.lastSequence = lastSequence
        self.archive = archive
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case rows
        case lastSequence = "last_sequence"
        case archive
    }
}

/// Whose history may go.
package enum RetentionQuery: Hashable, Sendable {
    /// Of those that finished before then.
    case finishedBefore(WireTime)
    /// Of all but so many that finished last.
    case keeping(Int)
}

extension GodwitClient {
    /// One page of finished migrations whose history may go.
    /// - Parameter after: ``Page/next`` of the page before.
    package func prunableHistory(
        _ retention: RetentionQuery, after: String? = nil, limit: Int = 100
    ) async throws -> Page<PrunableView> {
        let which: (String, String?) =
            switch retention {
            case .finishedBefore(let time): ("finished_before", time.description)
            case .keeping(let count): ("keep", String(count))
            }
        return try await get("/v1/history/prunable", [which, ("after", after), ("limit", String(limit))])
    }

    /// Takes rows away that were archived. Returns the mark that stands for them now.
    package func pruneHistory(of migration: String, _ request: PruneHistoryRequest) async throws -> TransitionView {
        try await send(.POST, "/v1/migrations/\(escaped(migration))/prune-history", body: request)
    }
}
