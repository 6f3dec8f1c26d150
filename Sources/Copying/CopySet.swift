import AgentAPI
package import Fleet
import Foundation
import Glibc
import Hypervisor
import Synchronization

/// The copy of all the files of a server, several side by side within one budget.
package final class CopySet: Sendable {
    private let copies: [FileCopy]
    private let budget: Budget

    /// Files under way at once.
    private static let width = 3

    /// - Parameter rate: bytes a second over all files together; nil is without limit.
    package init(_ files: [FileToCopy], rate: Int64?, options: CopyOptions = CopyOptions()) {
        let budget = Budget(rate)
        let notes = Notes()
        self.budget = budget
        self.noted = notes
        copies = files.map { file in FileCopy(file, options: options, budget: budget) { notes.add($0) } }
    }

    private final class Notes: Sendable {
        private let reasons = Mutex<[Reason]>([])
        func add(_ reason: Reason) { reasons.withLock { $0.append(reason) } }
        var all: [Reason] { reasons.withLock { $0 } }
    }

    private let noted: Notes

    /// What an operator should know, in order.
    package var events: [Reason] { noted.all }

    /// When every byte stood on the target for the first time, not yet verified; nil before.
    package var fetchedAt: ContinuousClock.Instant? {
        let times = copies.map(\.fetchedAt)
        return times.contains(nil) ? nil : times.compactMap(\.self).max()
    }

    package var figures: CopyFigures { copies.reduce(CopyFigures()) { $0 + $1.figures } }

    /// Changes the budget of a copy under way.
    package func setRate(_ rate: Int64?) async { await budget.set(rate) }

    /// Copies what is not there yet, and verifies it. Can be called again after it failed.
    package func run(from source: CopySource) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var waiting = copies[...]
            for _ in 0..<Self.width {
                guard let copy = waiting.popFirst() else { break }
                group.addTask { try await copy.run(from: source) }
            }
            while try await group.next() != nil {
                if let copy = waiting.popFirst() { group.addTask { try await copy.run(from: source) } }
            }
        }
    }

    /// Gives the files, which are all there in full, their names, durably. Files that have them keep them.
    /// - Throws: ``AgentProblem``: `disk-error`, `disk-full`; `verify-failed` for a base image that is not what its name says.
    package func putInPlace() async throws {
        for copy in copies where copy.file.isNamedByContent { try await adopt(copy) }
        let files = copies.filter { !$0.file.isNamedByContent }.map { (partial: $0.partialPath, path: $0.file.path) }
        try await offloaded {
            for file in files where access(file.partial, F_OK) == 0 {
                guard rename(file.partial, file.path) == 0 else {
                    throw AgentProblem(.failed, .diskError, "\(file.partial) cannot be renamed: \(systemMessage(errno))")
                }
            }
            for file in files {
                guard access(file.path, F_OK) == 0 else {
                    throw AgentProblem(.failed, .diskError, "\(file.path) is gone, and was copied")
                }
                try DurableFile.syncFolder(of: file.path)
            }
        }
    }

    private func adopt(_ copy: FileCopy) async throws {
        let (partial, path) = (copy.partialPath, copy.file.path as NSString)
        guard access(partial, F_OK) == 0, access(path as String, F_OK) != 0 else {
            // Another server has brought it meanwhile, or an earlier run of this.
            unlink(partial)
            return
        }
        guard let format = DiskFormat(rawValue: path.pathExtension) else {
            throw AgentProblem(.invalid, .invalidRequest, "\(path) is no name of a base image")
        }
        let base = GuestDescription.BaseImage(name: path.lastPathComponent, format: format, sizeBytes: copy.file.sizeBytes)
        let folder = path.deletingLastPathComponent as NSString
        do {
            try await BaseImages.adopt(partial, as: base, on: folder.deletingLastPathComponent)
        } catch let problem as AgentProblem where problem.reason.code == .verifyFailed {
            // Or the next try would take it up where it stands.
            for path in [partial, copy.journalPath] { unlink(path) }
            throw problem
        }
    }

    /// Removes the journals, once something else remembers that the files are there.
    package func forgetJournals() async throws {
        let paths = copies.map(\.journalPath)
        try await offloaded { for path in paths { unlink(path) } }
    }

    /// Bytes that an earlier copy of these files took up already below that folder.
    package func bytesThere(below folder: String) -> Int64 {
        copies.reduce(0) { sum, copy in
            guard copy.file.path.hasPrefix(folder + "/") else { return sum }
            var status = stat()
            guard stat(copy.partialPath, &status) == 0 || stat(copy.file.path, &status) == 0 else { return sum }
            return sum + Int64(status.st_blocks) * 512
        }
    }
}
