import AgentAPI
package import Fleet
import Foundation
import Hypervisor
package import QMP

/// How a running guest dirties its memory: by looking at pages from outside over spans from a tenth of a second to two, and over one and two
/// seconds by QEMU's own measurement too, of which the larger counts: on a busy host either can miss what was written.
package struct DirtyRateProbe: Sendable {
    private let monitor: QMPClient
    private let sampler: MemorySampler
    private let memoryBytes: Int64

    package init(monitor: QMPClient, pid: Int32, memoryBytes: Int64) {
        self.monitor = monitor
        self.sampler = MemorySampler(pid: pid, memoryBytes: memoryBytes)
        self.memoryBytes = memoryBytes
    }

    package struct Outcome: Hashable, Sendable {
        package var usedBytes: Int64?
        package var dirtied: [DirtyWindow]
        package var warnings: [String]
    }

    private static let spans: [Duration] = [.milliseconds(100), .milliseconds(300), .seconds(1), .seconds(2)]
    /// Pages that QEMU looks at in all, and what it takes for each GiB.
    private static let samples: Int64 = 16_384
    private static let samplesPerGiB: ClosedRange<Int64> = 128...16_384
    /// QEMU leaves out blocks of RAM below this.
    private static let leastBlock: Int64 = 128 << 20

    /// Takes about three seconds.
    package func run() async throws -> Outcome {
        var outcome = Outcome(usedBytes: nil, dirtied: [], warnings: [])
        async let sampled = sample()
        do {
            // The small guest that QEMU would leave out is looked at from outside alone.
            if memoryBytes >= Self.leastBlock {
                for seconds in [1, 2] { outcome.dirtied.append(try await measure(seconds: seconds)) }
            }
        } catch let error as QMPError {
            outcome.warnings.append("QEMU did not measure how fast memory is dirtied: \(error)")
        }
        switch await sampled {
        case .success(let sample):
            outcome.usedBytes = sample.usedBytes
            outcome.dirtied = Self.merged(sample.dirtied, outcome.dirtied)
            if memoryBytes < Self.leastBlock { outcome.warnings.append("QEMU measures only memory of 128 MiB and more") }
        case .failure(let problem):
            outcome.warnings.append(problem.reason.message)
        }
        return outcome
    }

    /// What was seen from outside; of a span that QEMU measured as well, what is more.
    static func merged(_ seen: [DirtyWindow], _ told: [DirtyWindow]) -> [DirtyWindow] {
        seen.map { window in
            // A look takes some milliseconds, so that its span is never quite QEMU's.
            let other = told.first { abs($0.milliseconds - window.milliseconds) <= window.milliseconds / 4 }
            return DirtyWindow(milliseconds: window.milliseconds, bytes: max(window.bytes, other?.bytes ?? 0))
        }
    }

    private func sample() async -> Result<MemorySampler.Sample, AgentProblem> {
        do {
            return .success(try await sampler.sample(after: Self.spans))
        } catch {
            return .failure(error as? AgentProblem ?? AgentProblem(.failed, .agentError, "\(error)"))
        }
    }

    private func measure(seconds: Int) async throws -> DirtyWindow {
        // One that somebody else began is waited for: QEMU has one at a time.
        _ = try await outcome()
        let perGiB = Self.samples * (1 << 30) / max(1, memoryBytes)
        let range = Self.samplesPerGiB
        do {
            try await monitor.calcDirtyRate(seconds: seconds, samplePages: Int(min(range.upperBound, max(range.lowerBound, perGiB))))
        } catch let error as QMPError {
            // Somebody else was quicker: then theirs is as good.
            guard try await monitor.queryDirtyRate().status == "measuring" else { throw error }
        }
        let info = try await outcome()
        return DirtyWindow(
            milliseconds: Int64(info.calcTime) * 1000, bytes: min(memoryBytes, Int64(info.dirtyRate ?? 0) << 20 * Int64(info.calcTime)))
    }

    private func outcome() async throws -> DirtyRateInfo {
        let end = ContinuousClock.now + .seconds(70)
        while true {
            let info = try await monitor.queryDirtyRate()
            guard info.status == "measuring", ContinuousClock.now < end else { return info }
            // QEMU has no event for the end of a measurement.
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}
