import AgentAPI
import Failpoints
import Fleet
import Foundation
import Glibc
package import Hypervisor

/// What agent and guard of a host have in common on its disk.
package struct GuardFiles: Hashable, Sendable {
    /// Where the newest book lies: in the run folder, which is memory on most hosts, so that no disk holds up a renewal.
    private let book: String
    /// What must be known after the host was started anew: that a lease was given.
    private let durableBook: String
    /// The guard listens there.
    package let socket: String
    /// One guard at a time.
    package let lock: String
    /// Whoever is about to start a marked guest holds this together with others; the guard, while the lease is over, holds it alone.
    package let gate: String
    /// Which process the agent is.
    package let agent: String
    /// That the host is being shut down in order, and that controllers were told.
    private let shutdown: String
    /// Marks of guests lie there.
    let run: String

    package init(_ paths: HostPaths) {
        run = paths.run
        book = "\(paths.run)/guard.json"
        durableBook = "\(paths.state)/guard.json"
        socket = "\(paths.run)/guard.sock"
        lock = "\(paths.run)/guard.lock"
        gate = "\(paths.run)/guard.gate"
        agent = "\(paths.run)/agent.pid"
        shutdown = "\(paths.run)/shutdown"
    }

    /// - Parameter isRunning: what lies in the run folder is enough, since it was read before what lies on the disk.
    /// - Throws: ``AgentProblem`` when there is one that cannot be read.
    package func readBook(isRunning: Bool = false) throws -> LeaseBook {
        let books = try (isRunning ? [book] : [book, durableBook]).compactMap { path in
            try DurableFile.read(path).map { bytes in
                do {
                    return try JSONDecoder().decode(LeaseBook.self, from: bytes)
                } catch {
                    throw AgentProblem(.failed, .agentError, "\(path) is no book of leases: \(error)")
                }
            }
        }
        // Of equal ones the first, which is written last.
        return books.max { $0.number < $1.number } ?? LeaseBook()
    }

    /// - Parameter writer: no two write one draft.
    /// - Throws: ``AgentProblem``; then what was there before stands.
    package func write(_ new: LeaseBook, over old: LeaseBook, writer: String) throws {
        let bytes = try JSONEncoder().encode(new)
        if new.lease?.bootID != old.lease?.bootID || !FileManager.default.fileExists(atPath: durableBook) {
            try DurableFile.write(bytes, to: durableBook, as: .leaseBook, draft: writer)
        }
        do {
            try bytes.write(to: URL(fileURLWithPath: "\(book).\(writer)"))
        } catch {
            throw AgentProblem(.failed, .agentError, "\(book) cannot be written: \(error.localizedDescription)")
        }
        guard rename("\(book).\(writer)", book) == 0 else {
            throw AgentProblem(.failed, .agentError, "\(book) cannot be replaced: \(systemMessage(errno))")
        }
    }

    /// Writes down that the host is being shut down in order. It counts for this start of the host.
    /// - Throws: ``AgentProblem``
    package func announceShutdown() throws {
        unlink("\(shutdown).told")
        try DurableFile.write(Data(try BootClock.now().bootID.utf8), to: shutdown, as: .shutdownNote)
    }

    /// - Throws: ``AgentProblem`` when it cannot be read.
    package func isShuttingDown() throws -> Bool {
        guard let bytes = try DurableFile.read(shutdown) else { return false }
        return bytes == Data(try BootClock.now().bootID.utf8)
    }

    /// Controllers were told of the shutdown.
    package func noteShutdownTold() throws { try DurableFile.write(Data(), to: "\(shutdown).told", as: .shutdownNote) }

    package var isShutdownTold: Bool { access("\(shutdown).told", F_OK) == 0 }
}
