import Foundation
import Glibc

/// What /proc tells of processes (proc(5)).
enum ProcessTable {
    /// One process for good: a pid is given out again, but not with the same start.
    struct Identity: Hashable, Codable, Sendable {
        let pid: Int32
        /// Clock ticks from boot until it was started.
        let start: String
    }

    /// Nil when it is gone, or dead and only not yet waited for.
    static func identity(_ pid: Int32) -> Identity? {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: data, as: UTF8.self)
        // The second field is the name in brackets and may hold anything.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split(separator: " ")
        // Counted from field 3, the state; field 22 is the start.
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        return Identity(pid: pid, start: String(fields[19]))
    }

    static func arguments(_ pid: Int32) -> [String] {
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return [] }
        return data.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    }

    /// Processes by what their command line says.
    static func all(where matches: ([String]) -> Bool) -> [Identity] {
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
        return entries.compactMap(Int32.init).filter { matches(arguments($0)) }.compactMap(identity)
    }

    static func signal(_ process: Identity, _ signal: Int32) {
        guard identity(process.pid) == process else { return }
        kill(process.pid, signal)
    }

    /// Ends processes: asked first where there is time for it, then killed.
    ///
    /// - Returns: those that are still there after both, which nothing but the kernel can end.
    static func end(_ processes: [Identity], grace: Duration) async -> [Identity] {
        var left = processes
        for (number, patience) in [(SIGTERM, grace), (SIGKILL, .seconds(5))] where patience > .zero && !left.isEmpty {
            for process in left { signal(process, number) }
            left = await remaining(left, patience)
        }
        return left
    }

    private static func remaining(_ processes: [Identity], _ patience: Duration) async -> [Identity] {
        let deadline = ContinuousClock.now + patience
        var left = processes
        while true {
            left = left.filter { identity($0.pid) == $0 }
            if left.isEmpty || ContinuousClock.now >= deadline { return left }
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return left }
        }
    }
}
