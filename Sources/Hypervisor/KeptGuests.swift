package import AgentAPI
import Failpoints
package import Fleet
import Foundation
import Glibc

/// What failed attempts left on this host and was kept for somebody to look at. None of it is a guest: the attempt was durably refused
/// before, its QEMU ended, and its files lie where no server's do.
package struct KeptGuests: Sendable {
    private let paths: HostPaths

    package init(_ paths: HostPaths) {
        self.paths = paths
    }

    package static func id(_ server: ServerID, _ key: AttemptKey) -> String { "\(server)-\(key.migration)-\(key.attempt)" }

    private func folder(_ id: String) -> String { "\(paths.kept)/\(id)" }
    private func note(_ id: String) -> String { "\(folder(id))/kept.json" }

    /// Moves the attempt's disks, with what lies beside them, console and QEMU's log aside. Done again it finds done what is done.
    package func keep(_ guest: GuestDescription, of key: AttemptKey, paths guestPaths: GuestPaths, reason: Reason) async throws {
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
            if access(note, F_OK) != 0 { try DurableFile.write(try JSONEncoder().encode(kept), to: note, as: .keptNote) }
            for move in moves where access(move.from, F_OK) == 0 {
                guard rename(move.from, move.to) == 0 else {
                    throw AgentProblem(.failed, .diskError, "\(move.from) cannot be kept as \(move.to): \(systemMessage(errno))")
                }
                try DurableFile.syncFolder(of: move.to)
                try DurableFile.syncFolder(of: move.from)
            }
        }
    }

    /// - Throws: ``AgentProblem`` when what is kept cannot be read.
    package func list() async throws -> [KeptGuest] {
        try await offloaded {
            try DurableFile.names(in: paths.kept).compactMap { id in
                guard var kept = try read(id) else { return nil }
                kept.bytes = kept.folders.reduce(0) { $0 + StorageSurvey.size(of: $1) }
                return kept
            }
        }
    }

    /// - Throws: ``AgentProblem``.
    package func delete(_ id: String) async throws {
        guard !id.isEmpty, !id.contains("/"), id != ".", id != ".." else {
            throw AgentProblem(.invalid, .invalidRequest, "“\(id)” is no kept guest's id")
        }
        try await offloaded {
            // The note goes last.
            for folder in try read(id)?.folders.reversed() ?? [] { try DiskImages.removeFolder(folder) }
        }
    }

    private func read(_ id: String) throws -> KeptGuest? {
        try DurableFile.read(note(id)).map {
            do {
                return try JSONDecoder().decode(KeptGuest.self, from: $0)
            } catch {
                throw AgentProblem(.failed, .agentError, "\(note(id)) is no note of a kept guest: \(error)")
            }
        }
    }
}
