/// How long an attempt may take before it is given up as `timed-out`.
package enum CompletionDeadline {
    /// Whatever there is to move, an attempt has so many seconds.
    package static let floorS: Int64 = 900
    /// Bytes a second that are counted on where no bandwidth was asked for: little, so that a slow link is no fault.
    package static let assumedRate: Int64 = 25_000_000
    /// How often everything may have to be sent: memory that is dirtied meanwhile goes again.
    package static let passes: Int64 = 3

    /// Seconds from the beginning of an attempt: what was asked for; else ``floorS`` and ``passes`` times what all bytes take at the
    /// bandwidth asked for, or at ``assumedRate``.
    ///
    /// - Parameter bytes: disks and memory, as large as they can be.
    package static func seconds(for options: MigrationOptions, bytes: Int64) -> Int64 {
        if let asked = options.timeoutS { return asked }
        let rate = options.maxBandwidthMB.map { max(1, $0) * 1_000_000 } ?? assumedRate
        return floorS + max(0, bytes) / rate * passes + max(0, bytes) % rate * passes / rate
    }

    /// What a migration of a server in this mode may have to move, storages that turn out to be shared, and base images that turn out to be
    /// there, included.
    package static func bytes(of description: GuestDescription, mode: Mode) -> Int64 {
        var bases: [String: Int64] = [:]
        for disk in description.disks { for base in disk.bases ?? [] { bases["\(disk.storage)/\(base.name)"] = base.sizeBytes } }
        let disks = description.disks.reduce(bases.values.reduce(0, +)) { $0 + $1.sizeBytes }
        switch mode {
        case .live: return disks + description.memoryBytes
        case .cold: return disks
        case .rescue: return 0
        }
    }
}
