/// What is sensible to ask of a migration, the same for the controller and for the command line.
package enum MigrationBounds {
    /// MB/s.
    package static let bandwidthMB: ClosedRange<Int64> = 1...1_000_000
    /// Milliseconds. QAPI `downtime-limit` ends at 2000 s.
    package static let downtimeMS: ClosedRange<Int64> = 1...2_000_000
    /// One stream is what there is without it; beyond 16 nothing is gained.
    package static let multifd: ClosedRange<Int64> = 2...16
    /// Seconds.
    package static let stallTimeoutS: ClosedRange<Int64> = 5...86_400
    /// Seconds: at most thirty days.
    package static let timeoutS: ClosedRange<Int64> = 1...2_592_000
    /// Higher ones begin first; 0 is the usual one.
    package static let priority: ClosedRange<Int64> = -100...100
}
