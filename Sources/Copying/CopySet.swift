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
    /// By path, copies of other servers that are waited for.
    private let others = Mutex<[String: FileCopy]>([:])
    /// Paths of base images that another server has brought.
    private let given = Mutex<Set<String>>([])

    /// What an operator should know, in order.
    package var events: [Reason] { noted.all }

    /// When every byte stood on the target for the first time, not yet verified; nil before.
    package var fetchedAt: ContinuousClock.Instant? {
        let given = given.withLock { $0 }
        let times = copies.filter { !given.contains($0.file.path) }.map(\.fetchedAt)
        return times.contains(nil) ? nil : times.compactMap(\.self).max()
    }

    package var figures: CopyFigures {
        let others = others.withLock { $0 }
        return copies.reduce(CopyFigures()) { sum, copy in
            guard let other = others[copy.file.path] else { return sum + copy.figures }
            // How far it is, and nothing of it fetched for this one.
            var figures = other.figures
            (figures.bytesFetched, figures.bytesCompared, figures.chunksRepaired) = (0, 0, 0)
            return sum + figures
        }
    }

    /// Changes the budget of a copy under way.
    package func setRate(_ rate: Int64?) async { await budget.set(rate) }

    /// Copies what is not there yet, and verifies it. Can be called again after it failed. Base images are in place then.
    package func run(from source: CopySource) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var waiting = copies[...]
            for _ in 0..<Self.width {
                guard let copy = waiting.popFirst() else { break }
                group.addTask { try await self.run(copy, from: source) }
            }
            while try await group.next() != nil {
                if let copy = waiting.popFirst() { group.addTask { try await self.run(copy, from: source) } }
            }
        }
    }

    private func run(_ copy: FileCopy, from source: CopySource) async throws {
        guard copy.file.isNamedByContent else { return try await copy.run(from: source) }
        let path = copy.file.path
        defer { others.withLock { $0[path] = nil } }
        while true {
            let rings = Arrivals.shared.bell.rings
            guard let other = Arrivals.shared.take(path, by: copy) else { break }
            if others.withLock({ $0.updateValue(other, forKey: path) }) == nil {
                noted.add(Reason("base-awaited", "\(copy.file.name) is being brought for another server already: that is waited for"))
            }
            await Arrivals.shared.bell.wait(after: rings, until: .now.advanced(by: .seconds(1)))
            try Task.checkCancellation()
        }
        others.withLock { $0[path] = nil }
        defer { Arrivals.shared.leave(path) }
        if access(path, F_OK) == 0 {
            unlink(copy.partialPath)
            if copy.fetchedAt == nil { _ = given.withLock { $0.insert(path) } }
            return
        }
        try await copy.run(from: source)
        try await adopt(copy)
    }

    /// Gives the files, which are all there in full, their names, durably. Files that have them keep them; base images do since they were
    /// copied.
    /// - Throws: ``AgentProblem`` `disk-error`.
    package func putInPlace() async throws {
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

    /// - Throws: ``AgentProblem``: `disk-error`, `disk-full`; `verify-failed` for a base image that is not what its name says.
    private func adopt(_ copy: FileCopy) async throws {
        let (partial, path) = (copy.partialPath, copy.file.path as NSString)
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
