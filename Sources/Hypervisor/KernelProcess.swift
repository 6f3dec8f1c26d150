import Failpoints
import Foundation
import Glibc

/// A process that outlives the agent, told from any other by its pid, the time the kernel says that one started, and its pid file's path on its
/// command line.
package struct KernelProcess: Hashable, Sendable {
    package let pid: Int32
    private let startTime: UInt64

    /// The process that wrote that pid file; nil when it is gone, or another one has the pid now.
    package static func find(pidFile path: String) -> KernelProcess? {
        guard
            let pid = FileManager.default.contents(atPath: path).flatMap({
                Int32(String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines))
            }), let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
            line.split(separator: 0).contains(where: { $0.elementsEqual(path.utf8) }), let start = startTime(of: pid)
        else { return nil }
        return KernelProcess(pid: pid, startTime: start)
    }

    /// When the process with that pid started, in clock ticks since boot; nil when it is gone. A process of which one thread is left is not gone,
    /// whatever the others show: it may still be the one that executes the guest.
    package static func startTime(of pid: Int32) -> UInt64? {
        // The second field of proc(5)'s stat is the name in parentheses and may hold anything.
        guard let status = FileManager.default.contents(atPath: "/proc/\(pid)/stat"), let end = status.lastIndex(of: UInt8(ascii: ")"))
        else {
            return nil
        }
        let fields = String(decoding: status[end...].dropFirst(2), as: UTF8.self).split(separator: " ")
        guard fields.count > 19, let threads = Int(fields[17]), !["Z", "X"].contains(fields[0]) || threads > 1 else { return nil }
        return UInt64(fields[19])
    }

    /// Every process that has one of these words as an argument of its own, with the word. A thread group of which the first thread has ended
    /// shows no arguments and is not found.
    package static func all(naming words: Set<String>) -> [(word: String, process: KernelProcess)] {
        guard !words.isEmpty, let names = try? FileManager.default.contentsOfDirectory(atPath: "/proc") else { return [] }
        return names.compactMap { name in
            guard let pid = Int32(name), let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline"),
                let word = line.split(separator: 0).lazy.map({ String(decoding: $0, as: UTF8.self) }).first(where: words.contains),
                let start = startTime(of: pid)
            else { return nil }
            return (word, KernelProcess(pid: pid, startTime: start))
        }
    }

    /// Writes down which process this one is, for ``find(agentFile:)``.
    package static func announce(in path: String) throws {
        let pid = getpid()
        try DurableFile.write(Data("\(pid) \(startTime(of: pid) ?? 0)\n".utf8), to: path, as: .pid)
    }

    /// The process that wrote that file; nil when it is gone.
    package static func find(agentFile path: String) -> KernelProcess? {
        let words = FileManager.default.contents(atPath: path).map {
            String(decoding: $0, as: UTF8.self).split(whereSeparator: \.isWhitespace)
        }
        guard let words, words.count == 2, let pid = Int32(words[0]), let start = UInt64(words[1]) else { return nil }
        let process = KernelProcess(pid: pid, startTime: start)
        return process.isAlive ? process : nil
    }

    package var isAlive: Bool { Self.startTime(of: pid) == startTime }

    /// Waits for it to be gone; false when it is not at the deadline, or when the task is cancelled.
    ///
    /// It is looked for: the kernel tells the end of a process that is no child only by pidfd_open(2), and waiting on that would hold a thread.
    package func waitForEnd(until deadline: ContinuousClock.Instant) async -> Bool {
        while isAlive {
            if ContinuousClock.now >= deadline { return false }
            do { try await Task.sleep(for: .milliseconds(5)) } catch { return false }
        }
        return true
    }

    package func signal(_ number: Int32) {
        if isAlive { kill(pid, number) }
    }
}
