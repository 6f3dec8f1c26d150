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

    /// All of a host. One that cannot be read is left out: it is none of ours.
    package static func all(_ files: GuardFiles) throws -> [GuestMark] {
        try DurableFile.names(in: files.run).filter { $0.hasSuffix(GuestPaths.markSuffix) }.compactMap { name in
            FileManager.default.contents(atPath: "\(files.run)/\(name)").flatMap { try? JSONDecoder().decode(GuestMark.self, from: $0) }
        }
    }

    /// Marks the guest, or takes the mark away.
    /// - Throws: ``AgentProblem``
    package static func set(_ isMarked: Bool, _ paths: GuestPaths) throws {
        if isMarked {
            try DurableFile.write(try JSONEncoder().encode(GuestMark(paths)), to: paths.mark)
        } else {
            unlink(paths.mark)
        }
    }
}

/// The processes of marked guests.
package enum MarkedGuests {
    /// Those that are there, each with its guest. They are looked for among all processes of the host: one that is being started has no pid
    /// file yet.
    package static func living(_ marks: [GuestMark]) -> [(mark: GuestMark, process: KernelProcess)] {
        let owners = Dictionary(marks.flatMap { mark in mark.words.map { ($0, mark) } }) { first, _ in first }
        return KernelProcess.all(naming: Set(owners.keys)).compactMap { word, process in owners[word].map { ($0, process) } }
    }

    /// Kills them, and waits up to so many milliseconds for them to be gone.
    /// - Returns: servers of which one was there; and whether none is any more.
    package static func end(_ files: GuardFiles, withinMS: Int64) throws -> (ended: Set<ServerID>, areGone: Bool) {
        let deadline = BootClock.milliseconds + withinMS
        var ended: Set<ServerID> = []
        // One that is on its way out shows no arguments any more, and may still have a write under way.
        var dying: Set<KernelProcess> = []
        while true {
            let living = living(try GuestMark.all(files))
            dying = dying.filter(\.isAlive)
            if living.isEmpty, dying.isEmpty { return (ended, true) }
            for (_, process) in living {
                process.signal(SIGKILL)
                dying.insert(process)
            }
            // Only now: that it is told does not matter as much as that it is done.
            for (mark, _) in living where ended.insert(mark.server).inserted {
                try? Data("\(Timestamp.now.milliseconds)\n".utf8).write(to: URL(fileURLWithPath: mark.ended))
            }
            if BootClock.milliseconds >= deadline { return (ended, false) }
            usleep(5_000)
        }
    }
}
