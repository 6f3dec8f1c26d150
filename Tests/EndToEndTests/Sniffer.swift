import Foundation
import Testing

/// Sees everything that a host exchanges with the others.
enum Sniffer {
    struct Findings: Decodable, Sendable {
        var packets: Int
        var bytes: Int64
        var dropped: Int
        var found: [String: Int]
    }

    /// Bytes that stand on the disk that ``TestFleet/createGuest(_:)`` makes, beyond the guest's records.
    static let diskMarker = Data("GODWIT DISK MARK".utf8)

    /// How the pages begin that the test guest fills once and never writes again (Guest/agent.c): with `splitmix64(512 · page)` and the next.
    static func memoryMarker(page: UInt64) -> Data {
        func splitmix64(_ value: UInt64) -> UInt64 {
            var x = value &+ 0x9e37_79b9_7f4a_7c15
            x = (x ^ (x >> 30)) &* 0xbf58_476d_1ce4_e5b9
            x = (x ^ (x >> 27)) &* 0x94d0_49bb_1331_11eb
            return x ^ (x >> 31)
        }
        return withUnsafeBytes(of: splitmix64(page * 512).littleEndian) { Data($0) }
            + withUnsafeBytes(of: splitmix64(page * 512 + 1).littleEndian) { Data($0) }
    }
}

extension NetFleet {
    /// Looks for patterns in what a host sends and receives while the body runs.
    func sniffing(_ host: String, for patterns: [Data], _ body: () async throws -> Void) async throws -> Sniffer.Findings {
        let log = work.appending(path: "observer/sniff.log")
        try? FileManager.default.removeItem(at: log)
        let words = patterns.map(\.hex)
        let noise = work.appending(path: "log/sniff.log")
        _ = try Spawned(
            control.command() + ["python3", TestGuest.checkers.appending(path: "sniff").path, "\(host)-m", log.path] + words, log: noise)
        try await eventually("the sniffer looks", within: .seconds(20)) {
            FileManager.default.contents(atPath: log.path) == Data("looking\n".utf8)
        }
        try await body()
        try await endObservers(log)
        return try JSONDecoder().decode(Sniffer.Findings.self, from: Data(contentsOf: log))
    }
}
