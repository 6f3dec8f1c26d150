/// How fast a guest dirties its memory (QAPI `DirtyRateInfo`).
package struct DirtyRateInfo: Sendable, Hashable, Codable {
    /// `unstarted`, `measuring` or `measured`.
    package let status: String
    /// MiB a second; nil until it is measured. A page counts once, however often it is written.
    package let dirtyRate: Int?
    /// Seconds.
    package let calcTime: Int
    /// `page-sampling`, `dirty-bitmap` or `dirty-ring`.
    package let mode: String?

    private enum CodingKeys: String, CodingKey {
        case status, mode
        case dirtyRate = "dirty-rate"
        case calcTime = "calc-time"
    }
}

extension QMPClient {
    /// QAPI `calc-dirty-rate` in the mode `page-sampling`: begins a measurement that `queryDirtyRate` tells the outcome of.
    ///
    /// It hashes sample pages before and after, which costs the guest nothing but the host's time, and works with every accelerator. Blocks
    /// of RAM below 128 MiB are left out. The mode `dirty-bitmap` is not offered: QEMU 7.2 aborts in it under TCG and takes the guest along.
    /// - Parameters:
    ///   - seconds: 1 to 60.
    ///   - samplePages: pages that are looked at for each GiB, 128 to 16384.
    package func calcDirtyRate(seconds: Int, samplePages: Int, deadline: Duration = defaultDeadline) async throws {
        try await execute(
            "calc-dirty-rate",
            ["calc-time": JSONValue(seconds), "mode": "page-sampling", "sample-pages": JSONValue(samplePages)], deadline: deadline)
    }

    /// QAPI `query-dirty-rate`.
    package func queryDirtyRate(deadline: Duration = defaultDeadline) async throws -> DirtyRateInfo {
        try await execute("query-dirty-rate", as: DirtyRateInfo.self, deadline: deadline)
    }
}
