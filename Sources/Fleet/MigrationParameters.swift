/// What may be changed about a migration under way; nil leaves it as it is.
package struct MigrationParameters: Hashable, Sendable, Codable {
    /// MB/s (10⁶ bytes a second) over disk and memory together; 0 lifts the limit.
    package var maxBandwidthMB: Int64?
    /// The downtime limit in milliseconds, at once and for the rest of the migration; live only.
    package var downtimeLimitMS: Int64?
    /// Somebody vouches that the source host is off: a migration that waits for it ends, and what memory it still has is given up. For a
    /// post-copy, and for a server whose disks are all shared.
    package var confirmHostDown: Bool

    package init(maxBandwidthMB: Int64? = nil, downtimeLimitMS: Int64? = nil, confirmHostDown: Bool = false) {
        self.maxBandwidthMB = maxBandwidthMB
        self.downtimeLimitMS = downtimeLimitMS
        self.confirmHostDown = confirmHostDown
    }

    package var isEmpty: Bool { maxBandwidthMB == nil && downtimeLimitMS == nil && !confirmHostDown }

    /// What is wrong with it for a migration of this mode: a sentence that names the parameter. Nil when nothing is.
    package func flaw(for mode: Mode) -> String? {
        if isEmpty { return "Nothing is to be changed: give max_bandwidth_mb, downtime_limit_ms, or confirm_host_down." }
        if let maxBandwidthMB, !(0...1_000_000).contains(maxBandwidthMB) {
            return "max_bandwidth_mb is \(maxBandwidthMB); it must be from 1 to 1000000 MB/s, or 0 for no limit."
        }
        if let downtimeLimitMS, !(1...2_000_000).contains(downtimeLimitMS) {
            return "downtime_limit_ms is \(downtimeLimitMS); it must be from 1 to 2000000 ms."
        }
        switch mode {
        case .live: return nil
        case .cold where downtimeLimitMS != nil:
            return "downtime_limit_ms cannot be set: the migration is cold, and its server is off all the while."
        case .cold where confirmHostDown:
            return "confirm_host_down has a meaning only for a live migration that waits for its source: this one is cold."
        case .cold: return nil
        case .rescue: return "A rescue copies nothing: there is nothing about it to be changed."
        }
    }

    /// Sets it in the options.
    ///
    /// - Returns: what is other than before, for the history: `max-bandwidth-mb: none → 40`; empty when nothing is.
    package func apply(to options: inout MigrationOptions) -> [String] {
        var changes: [String] = []
        if let asked = maxBandwidthMB {
            let wanted = asked == 0 ? nil : asked
            if wanted != options.maxBandwidthMB {
                func told(_ limit: Int64?) -> String { limit.map(String.init) ?? "none" }
                changes.append("max-bandwidth-mb: \(told(options.maxBandwidthMB)) → \(told(wanted))")
                options.maxBandwidthMB = wanted
            }
        }
        if let wanted = downtimeLimitMS, wanted != options.downtimeLimitMS {
            changes.append("downtime-limit-ms: \(options.downtimeLimitMS) → \(wanted)")
            options.downtimeLimitMS = wanted
            // What quickly-finish may do must not be less than what somebody asked for by hand.
            options.maxDowntimeMS = max(options.maxDowntimeMS, wanted)
        }
        if confirmHostDown, !options.confirmHostDown {
            changes.append("the source host is down, and memory that it still has is given up")
            options.confirmHostDown = true
        }
        return changes
    }
}
