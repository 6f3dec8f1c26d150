package import Fleet
import SQL

/// What finished migrations took; nil as long as none has told.
package struct Experience: Hashable, Sendable {
    /// From the acceptance to the first byte, and from the last one to `ready`; milliseconds.
    package var overheadMS: Int64?
    /// Of the blackout, all but the last pass over memory; milliseconds.
    package var switchMS: Int64?
    /// Bytes a second between the two hosts where no bandwidth was asked for, beginnings and ends of the streams included.
    package var diskRate: Int64?
    /// The same of memory that was sent; what its pages of zeroes took is left out.
    package var memoryRate: Int64?

    package init(overheadMS: Int64? = nil, switchMS: Int64? = nil, diskRate: Int64? = nil, memoryRate: Int64? = nil) {
        self.overheadMS = overheadMS
        self.switchMS = switchMS
        self.diskRate = diskRate
        self.memoryRate = memoryRate
    }

    /// Fewer bytes than these tell of how a stream begins and not of its rate.
    fileprivate static let telling: Int64 = 32 << 20
}

extension Store {
    /// Medians over the last few migrations of that mode that were ready at their first attempt.
    package func experience(_ mode: Mode) async throws -> Experience {
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT m.created_at, m.finished_at, m.blackout,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'prepare-target') AS prepared_at,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'send-memory') AS sent_at
                FROM (
                    SELECT * FROM migrations WHERE mode = \(mode.rawValue) AND state = \(MigrationState.ready.rawValue) AND attempt = 1
                    ORDER BY id DESC LIMIT 9
                ) AS m
                """)
        }
        var overheads: [Int64] = []
        var switches: [Int64] = []
        for row in rows {
            let blackout = try row.optionalText("blackout").map { try JSON.value(Blackout.self, $0) }
            if let blackout { switches.append(max(0, blackout.totalUS - blackout.deviceStateUS) / 1000) }
            guard let prepared = try row.optionalInteger("prepared_at"), let sent = try row.optionalInteger("sent_at"),
                let finished = try row.optionalInteger("finished_at")
            else { continue }
            let standing = (blackout?.totalUS ?? 0) / 1000
            overheads.append(max(0, prepared - (try row.integer("created_at"))) + max(0, finished - sent - standing))
        }
        return Experience(overheadMS: overheads.median, switchMS: switches.median)
    }

    /// The same, with the rates of the last few live migrations between two hosts, whichever way they went, with or without encryption.
    package func experience(_ mode: Mode, between one: HostID, and other: HostID, encrypted: Bool) async throws -> Experience {
        var experience = try await experience(mode)
        guard mode == .live else { return experience }
        let rows = try await read { transaction in
            try await transaction.query(
                """
                SELECT m.options, m.progress,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'prepare-target') AS prepared_at,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'mirror-disks') AS mirrored_at,
                    (SELECT s.changed_at FROM steps s WHERE s.migration_id = m.id AND s.step = 'send-memory') AS sent_at
                FROM (
                    SELECT * FROM migrations WHERE mode = \(mode.rawValue) AND state = \(MigrationState.ready.rawValue) AND attempt = 1
                        AND ((source_id = \(one.value) AND target_id = \(other.value))
                            OR (source_id = \(other.value) AND target_id = \(one.value)))
                    ORDER BY id DESC LIMIT 20
                ) AS m
                """)
        }
        var disks: [Int64] = []
        var memories: [Int64] = []
        for row in rows {
            let options = try JSON.value(MigrationOptions.self, row.text("options"))
            guard options.maxBandwidthMB == nil, options.enableTLS == encrypted, let text = try row.optionalText("progress"),
                let prepared = try row.optionalInteger("prepared_at"), let sent = try row.optionalInteger("sent_at")
            else { continue }
            let progress = try JSON.value(Progress.self, text)
            let mirrored = try row.optionalInteger("mirrored_at")
            if let mirrored, mirrored > prepared, progress.diskDone >= Experience.telling {
                disks.append(progress.diskDone * 1000 / (mirrored - prepared))
            }
            let zeroes = Double(max(0, progress.memoryTotal - progress.memoryTransferred))
            let milliseconds = sent - (mirrored ?? prepared) - Int64(zeroes / Progress.zeroRate * 1000)
            if milliseconds > 0, progress.memoryTransferred >= Experience.telling {
                memories.append(progress.memoryTransferred * 1000 / milliseconds)
            }
        }
        experience.diskRate = Array(disks.prefix(5)).median
        experience.memoryRate = Array(memories.prefix(5)).median
        return experience
    }
}

extension [Int64] {
    fileprivate var median: Int64? { isEmpty ? nil : sorted()[count / 2] }
}
