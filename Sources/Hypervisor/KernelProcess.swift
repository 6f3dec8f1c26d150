package import AgentAPI
import Failpoints
import Fleet
import Foundation
import Glibc

/// A process that outlives the agent, told from any other by its pid, the time the kernel says that one started, and its pid file's path on its
/// command line.
package struct KernelProcess: Hashable, Sendable {
    package let pid: Int32
    private let startTime: UInt64

    /// The process that wrote that pid file; nil when it is gone, or another one has the pid now.
    /// - Parameters:
    ///   - word: the argument on its command line that tells it from others; the file's path unless told.
    ///   - proc: where the kernel shows processes.
    /// - Throws: ``AgentProblem`` when that cannot be seen, which proves nothing.
    package static func find(pidFile path: String, naming word: String? = nil, in proc: String = "/proc") throws(AgentProblem)
        -> KernelProcess?
    {
        guard let written = try read(path),
            let pid = Int32(String(decoding: written, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)),
            let line = try read("\(proc)/\(pid)/cmdline"),
            line.split(separator: 0).contains(where: { $0.elementsEqual((word ?? path).utf8) }),
            let start = try startTime(of: pid, in: proc)
        else { return nil }
        return KernelProcess(pid: pid, startTime: start)
    }

    /// When the process with that pid started, in clock ticks since boot; nil when it is gone. A process of which one thread is left is not gone,
    /// whatever the others show: it may still be the one that executes the guest.
    /// - Throws: ``AgentProblem`` when it cannot be looked at.
    package static func startTime(of pid: Int32, in proc: String = "/proc") throws(AgentProblem) -> UInt64? {
        // The second field of proc(5)'s stat is the name in parentheses and may hold anything.
        guard let status = try read("\(proc)/\(pid)/stat"), let end = status.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = String(decoding: status[end...].dropFirst(2), as: UTF8.self).split(separator: " ")
        guard fields.count > 19, let threads = Int(fields[17]), !["Z", "X"].contains(fields[0]) || threads > 1 else { return nil }
        return UInt64(fields[19])
    }

    /// What was found among the processes of this host.
    package struct Findings: Sendable {
        /// With the first argument that was looked for.
        package var found: [(word: String, process: KernelProcess)] = []
        /// Why there may be more: that none was found proves nothing then. Nil when every process was looked at.
        package var trouble: AgentProblem?
    }

    /// Every process that has one of these words as an argument of its own. A thread group of which the first thread has ended shows no
    /// arguments and is not found.
    /// - Parameter proc: where the kernel shows processes.
    package static func all(naming words: Set<String>, in proc: String = "/proc") -> Findings {
        words.isEmpty ? Findings() : all(in: proc) { words.contains($0) }
    }

    /// Every process with an argument of its own for which this holds.
    package static func all(in proc: String = "/proc", _ isNamed: (String) -> Bool) -> Findings {
        var findings = Findings()
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: proc)
        } catch {
            findings.trouble = AgentProblem(.failed, .agentError, "the processes of this host cannot be listed: \(error)")
            return findings
        }
        for pid in names.compactMap({ Int32($0) }) {
            do {
                guard let line = try read("\(proc)/\(pid)/cmdline"),
                    let word = line.split(separator: 0).lazy.map({ String(decoding: $0, as: UTF8.self) }).first(where: isNamed),
                    let start = try startTime(of: pid, in: proc)
                else { continue }
                findings.found.append((word, KernelProcess(pid: pid, startTime: start)))
            } catch {
                findings.trouble = error
            }
        }
        return findings
    }

    /// What a file holds that a process wrote or that shows one; nil when it is gone.
    private static func read(_ path: String) throws(AgentProblem) -> Data? {
        func problem(_ number: Int32) -> AgentProblem {
            AgentProblem(.failed, .agentError, "\(path) cannot be read: \(systemMessage(number))")
        }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT || errno == ESRCH { return nil }
            throw problem(errno)
        }
        defer { close(file) }
        var bytes = Data()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = Glibc.read(file, &buffer, buffer.count)
            if count == 0 { return bytes }
            if count > 0 {
                bytes.append(contentsOf: buffer[..<count])
            } else if errno == ESRCH {
                return nil
            } else if errno != EINTR {
                throw problem(errno)
            }
        }
    }

    /// Writes down which process this one is, for ``find(agentFile:)``.
    package static func announce(in path: String) throws {
        let pid = getpid()
        try DurableFile.write(Data("\(pid) \(try startTime(of: pid) ?? 0)\n".utf8), to: path, as: .pid)
    }

    /// The process that wrote that file; nil when it is gone.
    /// - Throws: ``AgentProblem`` when that cannot be seen.
    package static func find(agentFile path: String) throws(AgentProblem) -> KernelProcess? {
        let words = try read(path).map { String(decoding: $0, as: UTF8.self).split(whereSeparator: \.isWhitespace) }
        guard let words, words.count == 2, let pid = Int32(words[0]), let start = UInt64(words[1]), try startTime(of: pid) == start else {
            return nil
        }
        return KernelProcess(pid: pid, startTime: start)
    }

    /// One that cannot be looked at counts as alive: only what is seen to be gone is gone.
    package var isAlive: Bool {
        do {
            return try Self.startTime(of: pid) == startTime
        } catch {
            return true
        }
    }

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

    /// Only what is seen to be it is signalled: by now another may have the pid.
    /// - Throws: ``AgentProblem`` when it cannot be looked at, or may not be signalled.
    package func signal(_ number: Int32) throws(AgentProblem) {
        guard try Self.startTime(of: pid) == startTime else { return }
        guard kill(pid, number) == 0 || errno == ESRCH else {
            throw AgentProblem(.failed, .agentError, "process \(pid) cannot be sent signal \(number): \(systemMessage(errno))")
        }
    }
}
