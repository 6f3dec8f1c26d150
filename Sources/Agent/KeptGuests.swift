import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor

/// What failed attempts left on this host and was kept for somebody to look at. None of it is a guest: the attempt was durably refused
/// before, its QEMU ended, and its files lie where no server's do.
struct KeptGuests: Sendable {
    private let paths: HostPaths

    init(_ host: HostContext) {
        self.paths = host.paths
    }

    static func id(_ server: ServerID, _ key: AttemptKey) -> String { "\(server)-\(key.migration)-\(key.attempt)" }

    private func folder(_ id: String) -> String { "\(paths.kept)/\(id)" }
    private func note(_ id: String) -> String { "\(folder(id))/kept.json" }

    /// Moves the attempt's disks, with what lies beside them, console and QEMU's log aside. Done again it finds done what is done.
    func keep(_ guest: GuestDescription, of key: AttemptKey, paths guestPaths: GuestPaths, reason: Reason) async throws {
        let id = Self.id(guest.server, key)
        let folder = folder(id)
        var moves: [(from: String, to: String)] = []
        for storage in Set(guest.disks.map(\.storage)).sorted() where !guestPaths.isShared(storage) {
            moves.append((try guestPaths.diskFolder(on: storage), try guestPaths.keptFolder(on: storage, id: id)))
        }
        let folders = [folder] + moves.map(\.to)
        for path in [guestPaths.console, guestPaths.log] {
            moves.append((path, "\(folder)/\((path as NSString).lastPathComponent)"))
        }
        let kept = KeptGuest(
            id: id, server: guest.server, name: guest.name, migration: key.migration, attempt: key.attempt, reason: reason, keptAt: .now,
            bytes: 0, folders: folders)
        let note = note(id)
        try await offloaded { [moves] in
            try DurableFile.makeFolder(folder)
            // First what is there, then the moving of it: whatever was moved can be found and deleted.
            if access(note, F_OK) != 0 { try DurableFile.write(try JSONEncoder().encode(kept), to: note) }
            for move in moves where access(move.from, F_OK) == 0 {
                guard rename(move.from, move.to) == 0 else {
                    throw AgentProblem(.failed, .diskError, "\(move.from) cannot be kept as \(move.to): \(systemMessage(errno))")
                }
                try DurableFile.syncFolder(of: move.to)
                try DurableFile.syncFolder(of: move.from)
            }
        }
    }

    func list() async throws -> [KeptGuest] {
        let paths = paths
        return try await offloaded {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: paths.kept)) ?? []
            return try names.sorted().compactMap { name in
                guard let bytes = try DurableFile.read("\(paths.kept)/\(name)/kept.json"),
                    var kept = try? JSONDecoder().decode(KeptGuest.self, from: bytes)
                else { return nil }
                kept.bytes = kept.folders.reduce(0) { $0 + Self.size(of: $1) }
                return kept
            }
        }
    }

    /// - Throws: ``AgentProblem``.
    func delete(_ id: String) async throws {
        guard !id.isEmpty, !id.contains("/"), id != ".", id != ".." else {
            throw AgentProblem(.invalid, .invalidRequest, "“\(id)” is no kept guest's id")
        }
        guard let kept = try await list().first(where: { $0.id == id }) else { return }
        // The note goes last.
        try await offloaded { for folder in kept.folders.reversed() { try DiskImages.removeFolder(folder) } }
    }

    /// What the files below take on the disk, in bytes.
    private static func size(of folder: String) -> Int64 {
        guard let files = FileManager.default.enumerator(atPath: folder) else { return 0 }
        var sum: Int64 = 0
        for case let name as String in files {
            var status = stat()
            if lstat("\(folder)/\(name)", &status) == 0 { sum += Int64(status.st_blocks) * 512 }
        }
        return sum
    }
}
