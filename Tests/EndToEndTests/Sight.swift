import Foundation

/// What a client outside has heard from a guest (see Guest/observe).
struct Sight: Sendable {
    enum Kind: String, Sendable {
        case beat, echo, ping, line, lost, sent
    }

    struct Arrival: Sendable {
        var kind: Kind
        /// Nanoseconds of CLOCK_BOOTTIME.
        var at: UInt64
        var number: UInt64
        /// The last record that the guest had on its disk, as it said.
        var record: UInt64
        var memoryErrors: UInt64
        var boot: String
    }

    var arrivals: [Arrival]

    init(log: URL) throws {
        let text = String(decoding: try Data(contentsOf: log), as: UTF8.self)
        // The last line may be in the middle of being written.
        arrivals = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().compactMap { line in
            let words = line.split(separator: " ")
            guard words.count == 7, let kind = Kind(rawValue: String(words[0])), let at = UInt64(words[1]) else { return nil }
            return Arrival(
                kind: kind, at: at, number: UInt64(words[2]) ?? 0, record: UInt64(words[4]) ?? 0, memoryErrors: UInt64(words[5]) ?? 0,
                boot: String(words[6]))
        }
    }

    /// Now, on the clock of the arrivals.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    func of(_ kind: Kind) -> [Arrival] { arrivals.filter { $0.kind == kind } }

    /// The longest time without anything of a kind, between two moments; also that until the first and since the last one.
    func longestSilence(_ kind: Kind, from: UInt64, to: UInt64 = Sight.now) -> Duration {
        let times = [from] + of(kind).map(\.at).filter { $0 > from && $0 < to } + [to]
        return .nanoseconds(zip(times, times.dropFirst()).map { $1 > $0 ? Int64($1 - $0) : 0 }.max() ?? 0)
    }

    /// Numbers that are missing between the first and the last of a kind.
    func missing(_ kind: Kind) -> Int {
        let numbers = Set(of(kind).map(\.number))
        guard let first = numbers.min(), let last = numbers.max() else { return 0 }
        return Int(last - first) + 1 - numbers.count
    }

    /// How many of the stream's lines did not follow the one before, and whether the stream broke.
    var brokenLines: Int {
        let numbers = of(.line).map(\.number)
        return zip(numbers, numbers.dropFirst()).count { $1 != $0 + 1 } + of(.lost).count
    }

    /// The last record that the guest has told of.
    var acknowledged: UInt64 { arrivals.map(\.record).max() ?? 0 }

    var memoryErrors: UInt64 { arrivals.map(\.memoryErrors).max() ?? 0 }

    /// The boots that were heard of: one, unless the guest rebooted.
    var boots: Set<String> { Set(arrivals.filter { $0.kind != .lost && $0.kind != .sent && $0.boot != "-" }.map(\.boot)) }
}
