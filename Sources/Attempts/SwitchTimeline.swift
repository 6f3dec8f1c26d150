package import Fleet

/// The moments of a switchover on the source host's clock, in microseconds since 1970.
package struct SwitchTimeline: Hashable, Sendable, Codable {
    package var stopped: Int64?
    package var preSwitchover: Int64?
    package var continued: Int64?
    package var completed: Int64?

    package init() {}

    /// The parts of the blackout, once the target's answer is here.
    package func blackout(answered: Int64, resumeUS: Int64) -> Blackout? {
        guard let stopped, let preSwitchover, let continued, let completed else { return nil }
        return Blackout(
            lastPassUS: preSwitchover - stopped, diskDrainUS: continued - preSwitchover, deviceStateUS: completed - continued,
            handoverUS: max(0, answered - completed - resumeUS), resumeUS: resumeUS, totalUS: answered - stopped)
    }
}
