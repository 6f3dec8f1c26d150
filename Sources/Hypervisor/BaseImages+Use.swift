import AgentAPI
package import Fleet
import Foundation
import Glibc

/// Which base images something rests on, and how those go that nothing does.
///
/// What rests on what is read from the files themselves, so that it holds for what other hosts have on a shared storage too. A lock beside the
/// images keeps those who remove some from those who are about to rest something on them.
extension BaseImages {
    /// Has nobody remove images of these storages while the body makes what rests on them.
    /// - Parameter storages: paths of the storages.
    package static func holding<Result>(
        _ storages: some Collection<String>, isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async throws -> Result {
        var locks: [Int32] = []
        defer { for lock in locks { close(lock) } }
        for storage in storages {
            locks.append(try await lock(storage, LOCK_SH, patience: .seconds(60)))
        }
        return try await body()
    }

    /// Removes those of these images that nothing on the storage rests on any more.
    /// - Parameters:
    ///   - bases: nearest first, as a disk lists them.
    ///   - storage: path of the storage.
    ///   - held: names of those that something is to rest on soon; asked for once nobody can begin with more.
    /// - Returns: names of what was removed.
    /// - Throws: ``AgentProblem``; then none is removed that could be in use.
    package static func removeUnused(
        _ bases: [GuestDescription.BaseImage], on storage: String, held: @Sendable () async -> Set<String>
    ) async throws -> [String] {
        guard bases.contains(where: { access("\(folder(on: storage))/\($0.name)", F_OK) == 0 }) else { return [] }
        let lock = try await lock(storage, LOCK_EX, patience: .seconds(10))
        defer { close(lock) }
        let held = await held()
        return try await offloaded {
            var references = try references(on: storage)
            var removed: [String] = []
            for base in bases where !held.contains(base.name) && !references.values.contains(base.name) {
                let path = try path(base, on: storage)
                guard unlink(path) == 0 else {
                    guard errno == ENOENT else {
                        throw AgentProblem(.failed, .diskError, "\(path) cannot be removed: \(systemMessage(errno))")
                    }
                    continue
                }
                references[path] = nil
                removed.append(base.name)
            }
            if !removed.isEmpty { try DurableFile.syncFolder(of: folder(on: storage) + "/.") }
            return removed
        }
    }

    /// By path of a file on the storage, the name of the base image that it rests on.
    private static func references(on storage: String) throws -> [String: String] {
        var found: [String: String] = [:]
        for folder in try FileManager.default.contentsOfDirectory(atPath: storage) {
            let place = "\(storage)/\(folder)"
            var status = stat()
            guard stat(place, &status) == 0 else {
                // What cannot be looked into may hold what rests on any of them.
                guard errno == ENOENT else {
                    throw AgentProblem(.failed, .diskError, "\(place) cannot be looked into: \(systemMessage(errno))")
                }
                continue
            }
            guard status.st_mode & S_IFMT == S_IFDIR else { continue }
            for file in try FileManager.default.contentsOfDirectory(atPath: place) {
                let path = "\(place)/\(file)"
                if let backing = try backing(of: path) { found[path] = (backing as NSString).lastPathComponent }
            }
        }
        return found
    }

    /// What a qcow2 file says it rests on; nil of any other file. From its header: big-endian, magic, version, then offset and length of the
    /// name (QEMU, docs/interop/qcow2.txt).
    private static func backing(of path: String) throws -> String? {
        func unreadable() -> AgentProblem { AgentProblem(.failed, .diskError, "\(path) cannot be read: \(systemMessage(errno))") }
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard file >= 0 else {
            // Gone meanwhile, or nothing that can be opened, such as a socket.
            if [ENOENT, ENXIO].contains(errno) { return nil }
            throw unreadable()
        }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw unreadable() }
        guard status.st_mode & S_IFMT == S_IFREG else { return nil }
        var head = [UInt8](repeating: 0, count: 20)
        let count = pread(file, &head, head.count, 0)
        guard count >= 0 else { throw unreadable() }
        guard count == head.count, head.prefix(4).elementsEqual([0x51, 0x46, 0x49, 0xfb]) else { return nil }
        func number(_ range: Range<Int>) -> UInt64 { head[range].reduce(0) { $0 << 8 | UInt64($1) } }
        let (offset, length) = (number(8..<16), Int(number(16..<20)))
        guard offset != 0, length > 0 else { return nil }
        var name = [UInt8](repeating: 0, count: min(length, 1023))
        guard offset < UInt64(Int64.max), pread(file, &name, name.count, off_t(offset)) == name.count else {
            throw AgentProblem(.failed, .diskError, "\(path) does not say what it rests on: its header is damaged")
        }
        return String(decoding: name, as: UTF8.self)
    }

    private static func lock(_ storage: String, _ kind: Int32, patience: Duration) async throws -> Int32 {
        let path = folder(on: storage) + "-lock"
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw AgentProblem(.failed, .diskError, "the lock \(path) cannot be opened: \(systemMessage(errno))") }
        let deadline = ContinuousClock.now.advanced(by: patience)
        while flock(file, kind | LOCK_NB) != 0 {
            let problem = errno
            guard problem == EWOULDBLOCK || problem == EINTR, ContinuousClock.now < deadline, !Task.isCancelled else {
                close(file)
                throw AgentProblem(
                    .failed, .diskError, "base images of \(storage) are in somebody else's hands (\(path): \(systemMessage(problem)))")
            }
            await Bell().wait(after: 0, until: .now.advanced(by: .milliseconds(50)))
        }
        return file
    }
}
