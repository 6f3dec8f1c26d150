/// The times that a host's guard and the controllers must agree on, since a host that is to be counted as dead cannot be asked.
package enum GuardTiming {
    /// Within so many milliseconds after a lease is over every marked guest is gone, or the watchdog has ended the host.
    package static let endWithinMS: Int64 = 10_000
    /// What the clocks of a host and of a controller may drift apart over a lease, in milliseconds. Both are slewed when the time of day is
    /// put right, by a twelfth of their pace at most (chrony's `maxslewrate`), perhaps one forwards and one backwards.
    package static func marginMS(lease: Int64) -> Int64 { max(5_000, lease / 6) }
    /// So long after the end the agent looks too, should its guard have died.
    package static let secondLineMS: Int64 = 3_000
    /// A lease that nobody named: milliseconds.
    package static let standardLeaseMS: Int64 = 30_000
    /// What a lease may be. A shorter one would end while an agent is asked once.
    package static let leaseMS: ClosedRange<Int64> = 5_000...3_600_000

    /// How long nobody must have renewed a lease until it is certain that no marked guest runs.
    package static func certainAfterMS(lease: Int64) -> Int64 { lease + endWithinMS + marginMS(lease: lease) }
}
