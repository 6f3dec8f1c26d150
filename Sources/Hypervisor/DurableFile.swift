import AgentAPI
package import Failpoints
import Fleet
package import Foundation
import Glibc

/// Small files that must be there after a power cut, whole, in their old form or in their new one.
package enum DurableFile {
    /// Replaces the file. When it returns, the new content is on the disk.
    /// - Parameters:
    ///   - content: what the writing's failure points are named after.
    ///   - draft: what the name of the draft ends in; each writer of the same file needs one of its own.
    /// - Throws: ``AgentProblem``; the old content may then stand or not, but never half of one.
    package static func write(_ bytes: Data, to path: String, as content: DurableContent, draft: String = "new") throws {
        try Failpoints.reachBlocking(.file(content, .before))
        let draft = "\(path).\(draft)"
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw failure("create", draft) }
        do {
            defer { close(file) }
            try bytes.withUnsafeBytes { buffer in
                var done = 0
                while done < buffer.count {
                    let count = Glibc.write(file, buffer.baseAddress.map { $0 + done }, buffer.count - done)
                    if count < 0 && errno == EINTR { continue }
                    guard count > 0 else { throw failure("write", draft) }
                    done += count
                }
            }
            guard fsync(file) == 0 else { throw failure("sync", draft) }
        }
        guard rename(draft, path) == 0 else { throw failure("replace", path) }
        try syncFolder(of: path)
        try Failpoints.reachBlocking(.file(content, .after))
    }

    /// Nil when there is no such file.
    package static func read(_ path: String) throws -> Data? {
        do {
            return try Data(contentsOf: URL(fileURLWithPath: path))
        } catch CocoaError.fileReadNoSuchFile {
            return nil
        } catch {
            throw AgentProblem(.failed, .agentError, "\(path) cannot be read: \(error.localizedDescription)")
        }
    }

    /// Names of what lies in the folder, in order; none when there is no such folder.
    package static func names(in folder: String) throws -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        } catch CocoaError.fileReadNoSuchFile {
            return []
        } catch {
            throw AgentProblem(.failed, .agentError, "\(folder) cannot be looked into: \(error.localizedDescription)")
        }
    }

    /// Makes a folder with all that it lies in, durably: what is written in it later must not be lost with its name.
    package static func makeFolder(_ path: String, mode: Int = 0o700) throws {
        var made: [String] = []
        var place = path
        while place != "/", !place.isEmpty, access(place, F_OK) != 0 {
            made.append(place)
            place = (place as NSString).deletingLastPathComponent
        }
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: NSNumber(value: mode)])
        } catch {
            throw AgentProblem(.failed, .agentError, "the folder \(path) cannot be made: \(error.localizedDescription)")
        }
        for folder in made.reversed() { try syncFolder(of: folder) }
    }

    /// Makes the names in the folder of `path` durable.
    package static func syncFolder(of path: String) throws {
        let folder = (path as NSString).deletingLastPathComponent
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return }
            throw failure("open", folder)
        }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync", folder) }
    }

    private static func failure(_ verb: String, _ path: String) -> AgentProblem {
        let problem = errno
        let code: Reason.Code = problem == ENOSPC || problem == EDQUOT ? .diskFull : .agentError
        return AgentProblem(.failed, code, "cannot \(verb) \(path): \(systemMessage(problem))")
    }
}

/// What the C library calls that error number.
package func systemMessage(_ number: Int32) -> String {
    // strerror() shares one buffer among threads.
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard let base = buffer.baseAddress, strerror_r(number, base, buffer.count) == 0 else { return "error \(number)" }
        return String(cString: base)
    }
}

/// A lock that a process holds by keeping a file open; the kernel lets go of it when the process ends, however it ends.
package final class ProcessLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock. One that a process which just ended held may be held a moment longer by a child that it was about to start: what is
    /// free within two seconds is free.
    /// - Throws: ``AgentProblem`` of kind `conflict` when another one holds it.
    package static func take(_ path: String, holder: String) async throws -> ProcessLock {
        let deadline = ContinuousClock.now.advanced(by: .seconds(2))
        while true {
            do {
                return try ProcessLock(path, holder: holder)
            } catch let problem as AgentProblem where problem.kind == .conflict && ContinuousClock.now < deadline {
                // Asked again: flock(2) waits without a deadline only, and would hold a thread.
                try await Task.sleep(for: .milliseconds(20))
            }
        }
    }

    private init(_ path: String, holder: String) throws {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw AgentProblem(.failed, .agentError, "the lock \(path) cannot be opened: \(systemMessage(errno))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw AgentProblem(.conflict, "locked", "\(holder) holds \(path) already: end that one first, or give another folder")
        }
    }

    deinit {
        close(descriptor)
    }
}
