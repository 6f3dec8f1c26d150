import AgentAPI
package import Fleet
import Glibc
import Hypervisor

/// Looks at pages of a guest's RAM from outside, by `/proc/…/mem`: what share holds anything but zeroes, and what share is another after
/// a while. The guest does not notice; the host reads some MiB.
///
/// QEMU's own measurement takes a second at least, and a second tells nothing of how much is dirtied within the tenth of one that a round
/// of a migration takes.
package struct MemorySampler: Sendable {
    private let pid: Int32
    private let memoryBytes: Int64
    private static let page = 4096
    /// So many pages are looked at: a share of one per cent is then known to a tenth of itself.
    private static let samplesAtMost = 8192

    /// - Parameter memoryBytes: the guest's RAM, by which its mapping is told from others.
    package init(pid: Int32, memoryBytes: Int64) {
        self.pid = pid
        self.memoryBytes = memoryBytes
    }

    package struct Sample: Hashable, Sendable {
        /// Bytes that are not zero.
        package var usedBytes: Int64
        package var dirtied: [DirtyWindow]
    }

    /// Takes as long as the last span.
    /// - Throws: ``AgentProblem`` when the kernel does not let the agent look.
    package func sample(after spans: [Duration]) async throws -> Sample {
        let look = try await offloaded { try Look(pid: pid, memoryBytes: memoryBytes) }
        let begun = ContinuousClock.now
        var dirtied: [DirtyWindow] = []
        for span in spans.sorted() {
            // The span is what is measured over.
            try await Task.sleep(until: begun + span)
            let share = try await offloaded { try look.changedShare() }
            // Each page was compared some milliseconds after it was read first: the middle of the pass stands for all.
            let elapsed = ContinuousClock.now - begun
            dirtied.append(DirtyWindow(milliseconds: elapsed.inMilliseconds, bytes: Int64(Double(memoryBytes) * share)))
        }
        return Sample(usedBytes: Int64(Double(memoryBytes) * look.usedShare), dirtied: dirtied)
    }

    /// The pages that were chosen, as they were at first.
    private final class Look: Sendable {
        private let descriptor: Int32
        private let offsets: [Int64]
        private let pages: [UInt8]
        let usedShare: Double

        init(pid: Int32, memoryBytes: Int64) throws {
            let mapping = try MemorySampler.mapping(pid, memoryBytes)
            let descriptor = open("/proc/\(pid)/mem", O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw MemorySampler.refusal(pid) }
            self.descriptor = descriptor
            let count = Int(memoryBytes) / MemorySampler.page
            let all = min(count, MemorySampler.samplesAtMost)
            // One page from each of as many equal stretches, so that none is seen twice and none is passed over.
            offsets = (0..<all).map { sample in
                let (low, high) = (count * sample / all, count * (sample + 1) / all)
                return mapping + Int64(Int.random(in: low..<max(low + 1, high)) * MemorySampler.page)
            }
            var pages = [UInt8](repeating: 0, count: all * MemorySampler.page)
            let zero = [UInt8](repeating: 0, count: MemorySampler.page)
            var used = 0
            for (index, offset) in offsets.enumerated() {
                let isUsed = try pages.withUnsafeMutableBytes { buffer -> Bool in
                    guard let place = buffer.baseAddress.map({ $0 + index * MemorySampler.page }),
                        pread(descriptor, place, MemorySampler.page, off_t(offset)) == MemorySampler.page
                    else { throw MemorySampler.refusal(pid) }
                    return memcmp(place, zero, MemorySampler.page) != 0
                }
                if isUsed { used += 1 }
            }
            self.pages = pages
            usedShare = all > 0 ? Double(used) / Double(all) : 0
        }

        deinit { close(descriptor) }

        func changedShare() throws -> Double {
            var buffer = [UInt8](repeating: 0, count: MemorySampler.page)
            var changed = 0
            for (index, offset) in offsets.enumerated() {
                guard pread(descriptor, &buffer, MemorySampler.page, off_t(offset)) == MemorySampler.page else {
                    throw AgentProblem(.failed, .guestStopped, "the guest ended while its memory was looked at")
                }
                let isSame = pages.withUnsafeBytes { pages in
                    pages.baseAddress.map { memcmp($0 + index * MemorySampler.page, buffer, MemorySampler.page) == 0 } ?? true
                }
                if !isSame { changed += 1 }
            }
            return offsets.isEmpty ? 0 : Double(changed) / Double(offsets.count)
        }
    }

    private static func refusal(_ pid: Int32) -> AgentProblem {
        AgentProblem(.failed, .agentError, "the memory of process \(pid) cannot be looked at: \(systemMessage(errno))")
    }

    /// Read to its end: the kernel gives such a file out in pieces, and a reader that takes a short piece for the last one sees half of it.
    private static func whole(_ path: String, of pid: Int32) throws -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw refusal(pid) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = read(descriptor, &piece, piece.count)
            guard count >= 0 else { throw refusal(pid) }
            guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
            bytes += piece[..<count]
        }
    }

    /// Where the guest's RAM begins in its QEMU: QEMU maps it in one piece with a guard page behind it, so that the size tells it.
    private static func mapping(_ pid: Int32, _ bytes: Int64) throws -> Int64 {
        let text = try whole("/proc/\(pid)/maps", of: pid)
        var best: (start: Int64, surplus: Int64)?
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 2)
            let ends = words.first.map { $0.split(separator: "-") } ?? []
            guard ends.count == 2, words[1].hasPrefix("rw"), let start = Int64(ends[0], radix: 16), let end = Int64(ends[1], radix: 16),
                end - start >= bytes
            else { continue }
            if let best, best.surplus <= end - start - bytes { continue }
            best = (start, end - start - bytes)
        }
        guard let best, best.surplus < 64 << 20 else {
            throw AgentProblem(.failed, .agentError, "process \(pid) has no mapping of \(bytes) bytes that could be the guest's memory")
        }
        return best.start
    }
}
