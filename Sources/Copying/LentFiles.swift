package import AgentAPI
package import Fleet
import Foundation
import Glibc
package import Hypervisor

/// Which files a server has on a host, and where they lie on any other.
package enum LentFiles {
    /// The folder of base images on a storage.
    static let bases = ".base"

    static func isBase(_ file: LentFile) -> Bool { file.path.hasPrefix(bases + "/") }

    /// All that a stopped server keeps here and no other host sees: its folder on every local storage, the base images that its disks there rest
    /// on, and what the agent's own folder has of the firmware and TPM of a server without disks.
    /// - Throws: ``AgentProblem``: `base-missing`, `disk-error`; of kind `invalid` when this host has not all the storages.
    package static func all(of guest: GuestDescription, _ paths: GuestPaths) throws -> [LentFile] {
        var files: [LentFile] = []
        for storage in Set(guest.disks.map(\.storage)).sorted() where !paths.isShared(storage) {
            let folder = try paths.storageFolder(storage)
            for path in try regularFiles(below: "\(folder)/\(guest.server)") where !isOurs(path) {
                files.append(
                    try look(
                        "\(folder)/\(guest.server)/\(path)", name: "\(storage)/\(path)", storage: storage, path: "\(guest.server)/\(path)"))
            }
        }
        for disk in guest.disks where !paths.isShared(disk.storage) {
            guard files.contains(where: { $0.storage == disk.storage && $0.path == "\(guest.server)/\(disk.name).\(disk.format.rawValue)" })
            else {
                throw AgentProblem(.failed, .diskError, "\(try paths.disk(disk)) is missing")
            }
        }
        files += try bases(of: guest, only: nil, paths)
        guard guest.disks.isEmpty else { return files }
        for path in try regularFiles(below: paths.folder) where path == "nvram.fd" || path.hasPrefix("tpm/") {
            files.append(try look("\(paths.folder)/\(path)", name: "state/\(path)", storage: nil, path: path))
        }
        return files
    }

    /// The base images on local storages.
    /// - Parameter names: only these; all when nil.
    package static func bases(of guest: GuestDescription, only names: [String]?, _ paths: GuestPaths) throws -> [LentFile] {
        var files: [LentFile] = []
        for disk in guest.disks where !paths.isShared(disk.storage) {
            for base in disk.bases ?? [] where names?.contains(base.name) ?? true {
                let path = "\(bases)/\(base.name)"
                guard !files.contains(where: { $0.storage == disk.storage && $0.path == path }) else { continue }
                let full = "\(try paths.storageFolder(disk.storage))/\(path)"
                guard access(full, F_OK) == 0 else {
                    throw AgentProblem(
                        .failed, .baseMissing,
                        "disk \(disk.name) rests on \(base.name), and \(full) is missing: put the image back, or restore the disk from a backup"
                    )
                }
                files.append(try look(full, name: "\(disk.storage)/\(path)", storage: disk.storage, path: path))
            }
        }
        return files
    }

    /// Both ends must leave the same files alone: what this host has on a shared storage could be the very file that is to be read.
    /// - Parameter bases: names of the base images, when those alone are to be lent; nil for the whole server.
    /// - Throws: ``AgentProblem`` `not-shared` when the source lends what this host has on a shared storage, or does not lend what this host
    ///   has to make; of kind `invalid` for a file that was not asked for.
    package static func require(
        _ files: [LentFile], toMake guest: GuestDescription, bases names: [String]? = nil, _ paths: GuestPaths
    ) throws {
        func refuse(_ what: String) -> AgentProblem {
            AgentProblem(.failed, .notShared, "the source \(what) on this host: give the storage the same kind on both hosts")
        }
        if let file = files.first(where: { $0.storage.map(paths.isShared) ?? false }) {
            throw refuse("lends \(file.path) of storage \(file.storage ?? ""), which is shared")
        }
        if names != nil, let file = files.first(where: { !isBase($0) }) { throw strange(file) }
        for disk in guest.disks where !paths.isShared(disk.storage) {
            let wanted =
                names.map { names in (disk.bases ?? []).map(\.name).filter(names.contains).map { "\(bases)/\($0)" } }
                ?? ["\(guest.server)/\(disk.name).\(disk.format.rawValue)"]
            for path in wanted where !files.contains(where: { $0.storage == disk.storage && $0.path == path }) {
                throw refuse("does not lend \(path) of disk \(disk.name), and its storage \(disk.storage) is not shared")
            }
        }
    }

    /// Where a lent file lies, or is to lie, on this host.
    /// - Throws: ``AgentProblem`` of kind `invalid` for a place that is not the server's.
    package static func path(of file: LentFile, _ paths: GuestPaths) throws -> String {
        let parts = file.path.split(separator: "/", omittingEmptySubsequences: false)
        let isInside = !file.path.isEmpty && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." }
        if let storage = file.storage {
            guard isInside, parts.count > 1, parts[0] == paths.server.value || parts[0] == bases else { throw strange(file) }
            return "\(try paths.storageFolder(storage))/\(file.path)"
        }
        guard isInside, file.path == "nvram.fd" || parts[0] == "tpm" else { throw strange(file) }
        return "\(paths.folder)/\(file.path)"
    }

    private static func strange(_ file: LentFile) -> AgentProblem {
        AgentProblem(.invalid, .invalidRequest, "\(file.path) is no place for a server's file")
    }

    /// Copies and journals of ours, which are no part of the server.
    private static func isOurs(_ path: String) -> Bool {
        [".partial", ".copy", ".new"].contains { path.hasSuffix($0) } || path == "owner.json"
    }

    private static func regularFiles(below folder: String) throws -> [String] {
        let found = FileManager.default.enumerator(atPath: folder)?.allObjects as? [String] ?? []
        return found.filter { path in
            var status = stat()
            return lstat("\(folder)/\(path)", &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        }.sorted()
    }

    private static func look(_ full: String, name: String, storage: String?, path: String) throws -> LentFile {
        var status = stat()
        guard stat(full, &status) == 0 else {
            throw AgentProblem(.failed, .diskError, "\(full) cannot be looked at: \(systemMessage(errno))")
        }
        return LentFile(
            name: name, storage: storage, path: path, sizeBytes: Int64(status.st_size), allocatedBytes: Int64(status.st_blocks) * 512,
            identity: "\(status.st_ino)-\(status.st_size)-\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)")
    }
}
