package import Fleet

/// What a host concludes from the owner records of a server that is its own by its books. Pure.
package enum OwnerRule {
    package enum Verdict: Hashable, Sendable {
        case mine
        /// It is this host's, and the records of these storages do not say so yet, or not any more.
        case write([String])
        /// Somebody newer owns it: end the guest.
        case lost(OwnerRecord)
    }

    /// - Parameters:
    ///   - found: by storage; nil where there is none.
    ///   - epoch: under which this host became the owner.
    package static func judge(_ found: [String: OwnerRecord?], host: String, since epoch: Epoch) -> Verdict {
        // As new as our own and not ours: of two tries of one rescue the one that wrote last owns.
        let others = found.values.compactMap { $0 }.filter { $0.host != host && $0.epoch >= epoch }
        if let newest = others.max(by: { $0.epoch < $1.epoch }) { return .lost(newest) }
        let stale = found.filter { $0.value?.host != host || $0.value?.epoch != epoch }
        return stale.isEmpty ? .mine : .write(stale.keys.sorted())
    }
}
