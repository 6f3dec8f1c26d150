package import AgentAPI
package import Fleet

/// One look at everything: what the store said before the agents were asked, what they told, and what the store said after that.
package struct Look: Sendable {
    package enum Sight: Sendable {
        /// - Parameter skewMS: how much its clock is ahead of the store's, beyond what the time of the question explains.
        case seen(Inventory, skewMS: Int64)
        /// With why there was no answer.
        case silent(String)
    }

    package var before: StoreBooks
    package var hosts: [HostID: Sight]
    package var after: StoreBooks
    /// Those of whoever looks.
    package var certificates: [CertificateEnd]

    package init(before: StoreBooks, hosts: [HostID: Sight], after: StoreBooks, certificates: [CertificateEnd] = []) {
        self.before = before
        self.hosts = hosts
        self.after = after
        self.certificates = certificates
    }

    /// How far a host's clock is from the store's, given what the store's clock said before and after the host's was read.
    package static func skewMS(of clock: Timestamp, between before: Timestamp, and after: Timestamp) -> Int64 {
        if clock > after { return clock - after }
        if clock < before { return clock - before }
        return 0
    }
}
