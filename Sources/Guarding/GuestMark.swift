package import AgentAPI
import Failpoints
package import Fleet
import Foundation
import Glibc
package import Hypervisor

/// That a guest is ended with its host's lease: every disk of its is one that other hosts see, so that its server may be started there.
///
/// The agent writes it before it starts the guest's QEMU, whether anybody counts on it or not.
package struct GuestMark: Hashable, Sendable, Codable {
    package var server: ServerID
    /// Arguments that stand on the command lines of the guest's processes and on no others.
    package var words: [String]
    /// Where it is written down that the guest was ended.
    package var ended: String

    package init(_ paths: GuestPaths) {
        server = paths.server
        words = [paths.pid, "file=\(paths.tpmPID)"]
        ended = paths.ended
    }

    /// All of a host that can be read, and the names of those that cannot: what these stand for may run.
    package static func all(_ files: GuardFiles) throws -> (marks: [GuestMark], unreadable: [String]) {
        var found: (marks: [GuestMark], unreadable: [String]) = ([], [])
        for name in try DurableFile.names(in: files.run) where name.hasSuffix(GuestPaths.markSuffix) {
            do {
                // Nil for one that its agent has just taken away.
                guard let bytes = try DurableFile.read("\(files.run)/\(name)") else { continue }
                found.marks.append(try JSONDecoder().decode(GuestMark.self, from: bytes))
            } catch {
                found.unreadable.append(name)
            }
        }
        return found
    }

    /// Marks the guest, or takes the mark away.
    /// - Throws: ``AgentProblem``
    package static func set(_ isMarked: Bool, _ paths: GuestPaths) throws {
        if isMarked {
            try DurableFile.write(try JSONEncoder().encode(GuestMark(paths)), to: paths.mark, as: .guestMark)
        } else {
            unlink(paths.mark)
        }
    }
}

/// The processes of marked guests.
package enum MarkedGuests {
    /// Those that are there, each with its guest. They are looked for among all processes of the host: one that is being started has no pid
    /// file yet.
    /// - Returns: also why there may be more; nil when every process was looked at.
    package static func living(_ marks: [GuestMark]) -> (living: [(mark: GuestMark, process: KernelProcess)], trouble: AgentProblem?) {
        let owners = Dictionary(marks.flatMap { mark in mark.words.map { ($0, mark) } }) { first, _ in first }
        let findings = KernelProcess.all(naming: Set(owners.keys))
        return (findings.found.compactMap { word, process in owners[word].map { ($0, process) } }, findings.trouble)
    }

    /// Kills them, and waits up to so many milliseconds for them to be gone.
    /// - Returns: servers of which one was there; why that is not written down of one of them; and whether none is any more.
    package static func end(
        _ files: GuardFiles, withinMS: Int64
    ) throws -> (ended: Set<ServerID>, untold: AgentProblem?, areGone: Bool) {
        let deadline = BootClock.milliseconds + withinMS
        var ended: Set<ServerID> = []
        var untold: AgentProblem?
        // One that is on its way out shows no arguments any more, and may still have a write under way.
        var dying: Set<KernelProcess> = []
        while true {
            let (marks, unreadable) = try GuestMark.all(files)
            let (living, trouble) = living(marks)
            dying = dying.filter(\.isAlive)
            if living.isEmpty, dying.isEmpty {
                // Nobody may count on the end of a guest that is not known, or not seen.
                if let trouble { throw trouble }
                guard unreadable.isEmpty else {
                    throw AgentProblem(.failed, .agentError, "marks of guests cannot be read: \(unreadable.joined(separator: ", "))")
                }
                return (ended, untold, true)
            }
            for (_, process) in living {
                dying.insert(process)
                // One that could not be signalled is still there, and is tried again with the next look.
                try? process.signal(SIGKILL)
            }
            // Only now: that it is told does not matter as much as that it is done.
            for (mark, _) in living where ended.insert(mark.server).inserted {
                do {
                    try Data("\(Timestamp.now.milliseconds)\n".utf8).write(to: URL(fileURLWithPath: mark.ended))
                } catch {
                    untold = AgentProblem(
                        .failed, .agentError,
                        "it cannot be written down that the guest of server \(mark.server) was ended, so that nobody starts it again unasked: \(error.localizedDescription)"
                    )
                }
            }
            if BootClock.milliseconds >= deadline { return (ended, untold, false) }
            // Their ends are told by nothing that the guard could wait for: they are no children of its. It has a thread of its own.
            usleep(5_000)
        }
    }
}
