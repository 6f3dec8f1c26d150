import Dispatch
import Foundation
import GRDB
import Synchronization

/// Looks for commits of anybody by SQLite's own counter of them (`PRAGMA data_version`), on a Dispatch thread of its own.
///
/// The kernel tells when the write-ahead log is written to, which is a moment before the commit can be seen: the counter is then asked
/// at short intervals that grow. While nothing is written it is asked rarely, in case something went by unnoticed; where the kernel
/// cannot tell, often.
final class SQLiteLookout: Sendable {
    /// Milliseconds between two looks: after a change, and the longest with and without the kernel's help.
    private static let shortest: Int32 = 2
    private static let longestTold: Int32 = 250
    private static let longestUntold: Int32 = 20
    /// Below this, writes to the log are not waited for: many commits cost one look in so many milliseconds.
    private static let busy: Int32 = 4

    private let connection: SQLiteConnection
    private let path: String
    private let stopped = Atomic(false)
    /// Its reading end becomes ready to stop the lookout at once.
    private let pipe = Pipe()

    init(_ connection: SQLiteConnection, path: String) {
        self.connection = connection
        self.path = path
    }

    /// Runs until stopped, and calls at every change. The first look counts as one: a commit may have come just before it.
    func run(_ onChange: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            DispatchQueue(label: "godwit.sqlite.lookout").async { [self] in
                look(onChange)
                continuation.resume()
            }
        }
    }

    func stop() {
        guard !stopped.exchange(true, ordering: .sequentiallyConsistent) else { return }
        pipe.fileHandleForWriting.closeFile()
    }

    private func look(_ onChange: () -> Void) {
        var known: Int64?
        var log: Int32 = -1
        defer { if log >= 0 { Glibc.close(log) } }
        var pause: Int32 = 0
        while !stopped.load(ordering: .sequentiallyConsistent) {
            do {
                let version = try connection.wait { try Int64.fetchOne($0.cachedStatement(sql: "PRAGMA data_version")) }
                // The first look has made SQLite create the log.
                if log < 0 { log = watchLog() }
                if known != version {
                    known = version
                    pause = 0
                    onChange()
                }
            } catch {
                // Listeners find out for themselves what the matter is.
                pause = max(pause, Self.longestUntold)
                onChange()
            }
            let longest = log < 0 ? Self.longestUntold : Self.longestTold
            pause = min(max(pause * 2, Self.shortest), longest)
            if isWritten(log: log, withinMS: pause) { pause = 0 }
        }
    }

    /// A descriptor that becomes readable when the log is written to; -1 where that is not to be had.
    private func watchLog() -> Int32 {
        let descriptor = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        guard descriptor >= 0 else { return -1 }
        guard inotify_add_watch(descriptor, path + "-wal", UInt32(IN_MODIFY)) >= 0 else {
            Glibc.close(descriptor)
            return -1
        }
        return descriptor
    }

    /// Waits, no longer than told, for the log to be written to or for the lookout to be stopped.
    private func isWritten(log: Int32, withinMS pause: Int32) -> Bool {
        let events = Int16(POLLIN)
        var waited = [pollfd(fd: pipe.fileHandleForReading.fileDescriptor, events: events, revents: 0)]
        if log >= 0, pause > Self.busy { waited.append(pollfd(fd: log, events: events, revents: 0)) }
        guard poll(&waited, nfds_t(waited.count), pause) > 0, waited.count > 1, waited[1].revents != 0 else { return false }
        var drained = [UInt8](repeating: 0, count: 4096)
        while read(log, &drained, drained.count) > 0 {}
        return true
    }
}
