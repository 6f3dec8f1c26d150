import Foundation
import Testing

/// What a run that was killed left behind: its folder, which its lock no longer holds, and every process that names the folder.
enum Leftovers {
    static let prefix = "godwit-net-"

    /// A folder that is this process's own. The kernel lets go of it when the process ends, however it ends.
    final class Claim: Sendable {
        private let file: Int32

        init(_ folder: URL) throws {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            file = open(folder.appending(path: "claim").path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
            guard file >= 0, flock(file, LOCK_EX | LOCK_NB) == 0 else { throw Failure("\(folder.path) cannot be claimed") }
        }

        deinit { close(file) }
    }

    static func remove() async throws {
        let parent = URL(filePath: "/tmp")
        for name in try FileManager.default.contentsOfDirectory(atPath: parent.path) where name.hasPrefix(prefix) {
            let folder = parent.appending(path: name)
            let file = open(folder.appending(path: "claim").path, O_RDWR | O_CLOEXEC)
            defer { if file >= 0 { close(file) } }
            guard file >= 0, flock(file, LOCK_EX | LOCK_NB) == 0 else { continue }
            let left = try Processes.mentioning(folder.path)
            print("removing what an earlier run left: \(folder.path), \(left.count) processes")
            for process in left { kill(process.pid, SIGKILL) }
            try await eventually("the processes of \(folder.path) are gone", within: .seconds(20)) {
                try Processes.mentioning(folder.path).isEmpty
            }
            try FileManager.default.removeItem(at: folder)
        }
    }
}
