import AgentAPI
import CXXHash
package import Fleet
import Foundation
import Glibc

/// Base images: read-only files beside the disks that rest on them, named by their content, so that the same name is the same image on every
/// host and every one is there once a storage.
package struct BaseImages: Sendable {
    private let images: DiskImages

    package init(images: DiskImages) {
        self.images = images
    }

    /// Folder of a storage's base images.
    package static func folder(on storage: String) -> String { storage + "/.base" }

    /// How a disk of a server names what it rests on: relative, so that it holds wherever the storage lies.
    package static func reference(fromDisk base: GuestDescription.BaseImage) -> String { "../.base/\(base.name)" }

    /// - Parameter storage: path of the storage.
    package static func path(_ base: GuestDescription.BaseImage, on storage: String) throws -> String {
        try check(base.name)
        return "\(folder(on: storage))/\(base.name)"
    }

    /// A name is 32 hexadecimal digits and a format: it comes from other hosts and becomes a path.
    private static func check(_ name: String) throws {
        guard isName(name) else { throw AgentProblem(.invalid, .invalidRequest, "\"\(name)\" is no name of a base image") }
    }

    private static func isName(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 2 && parts[0].utf8.count == 32 && parts[0].allSatisfy { $0.isHexDigit && $0.isASCII }
            && DiskFormat(rawValue: String(parts[1])) != nil
    }

    // MARK: Taking in

    /// Takes an image of the host with all that it rests on into a storage. What is there already is replaced by the same content.
    /// - Returns: the image and what it rests on, nearest first.
    /// - Throws: ``AgentProblem`` of kind `invalid` when one of them cannot be a base.
    package func take(_ path: String, into storage: String, named name: String) async throws -> [GuestDescription.BaseImage] {
        let chain = try await images.chain(of: path)
        try DurableFile.makeFolder(Self.folder(on: storage))
        let bytes = chain.reduce(Int64(0)) { $0 + $1.actualSize }
        try DiskImages.checkRoom(for: bytes, in: storage, storage: name)
        var taken: [GuestDescription.BaseImage] = []
        for link in chain.reversed() {
            taken.insert(try await take(link, restingOn: taken.first, into: storage), at: 0)
        }
        return taken
    }

    private func take(
        _ link: DiskImages.Link, restingOn lower: GuestDescription.BaseImage?, into storage: String
    ) async throws -> GuestDescription.BaseImage {
        let draft = "\(Self.folder(on: storage))/\(UUID().uuidString)\(Self.draftSuffix)"
        do {
            // By coreutils' cp, which keeps holes and shares blocks where the file system can.
            _ = try await Program.succeed(
                "cp", ["--reflink=auto", "--sparse=always", "--", link.path, draft], deadline: .seconds(3600), code: .diskError,
                for: "\(link.path) cannot be copied")
            if let lower {
                // In the folder itself, where the reference is looked up.
                try await images.rebase(draft, format: link.format, onto: lower.name, lower.format)
            }
            let base = GuestDescription.BaseImage(
                name: try await Self.contentName(of: draft, format: link.format), format: link.format, sizeBytes: link.virtualSize)
            try await Self.adopt(draft, as: base, on: storage, isVerified: true)
            return base
        } catch {
            unlink(draft)
            throw error
        }
    }

    /// Removes what an agent that was killed had half taken into a storage. Only while no agent takes anything.
    package static func removeDrafts(on storage: String) throws {
        let folder = folder(on: storage)
        for name in try DurableFile.names(in: folder) {
            guard name.hasSuffix(draftSuffix), UUID(uuidString: String(name.dropLast(draftSuffix.count))) != nil else { continue }
            unlink("\(folder)/\(name)")
        }
    }

    private static let draftSuffix = ".partial"

    /// Names of the images that are there in full, in order.
    /// - Parameter storage: path of the storage.
    package static func names(on storage: String) throws -> [String] {
        try DurableFile.names(in: folder(on: storage)).filter(isName)
    }

    // MARK: Placing

    /// Which of these images the storage lacks.
    package static func missing(_ bases: [GuestDescription.BaseImage], on storage: String) throws -> [GuestDescription.BaseImage] {
        try bases.filter { access(try path($0, on: storage), R_OK) != 0 }
    }

    /// Gives a file that was filled in the storage's folder of base images its final name, durably: from then on it is there, whole.
    /// - Parameter isVerified: the content was hashed already.
    /// - Throws: ``AgentProblem`` `verify-failed` when the content is not the one that the name says; the draft stays.
    package static func adopt(
        _ draft: String, as base: GuestDescription.BaseImage, on storage: String, isVerified: Bool = false
    ) async throws {
        let path = try path(base, on: storage)
        if !isVerified {
            let found = try await contentName(of: draft, format: base.format)
            guard found == base.name else {
                throw AgentProblem(
                    .failed, .verifyFailed, "base image \(base.name) arrived with another content (\(found)): copy it again")
            }
        }
        try await offloaded {
            let file = open(draft, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw AgentProblem(.failed, .diskError, "\(draft) cannot be opened: \(systemMessage(errno))") }
            defer { close(file) }
            guard fchmod(file, 0o444) == 0, fsync(file) == 0, rename(draft, path) == 0 else {
                let problem = errno
                throw AgentProblem(
                    .failed, problem == ENOSPC ? .diskFull : .diskError, "\(draft) cannot become \(path): \(systemMessage(problem))")
            }
            try DurableFile.syncFolder(of: path)
            try DurableFile.syncFolder(of: Self.folder(on: storage))
        }
    }

    /// XXH3-128 of the file's bytes in hexadecimal, and the format.
    package static func contentName(of path: String, format: DiskFormat) async throws -> String {
        try await offloaded {
            func unreadable() -> AgentProblem { AgentProblem(.failed, .diskError, "\(path) cannot be read: \(systemMessage(errno))") }
            let file = open(path, O_RDONLY | O_CLOEXEC)
            guard file >= 0 else { throw unreadable() }
            defer { close(file) }
            guard let state = XXH3_createState() else { throw AgentProblem(.failed, .memoryShort, "no memory to hash \(path) with") }
            defer { XXH3_freeState(state) }
            XXH3_128bits_reset(state)
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                let count = read(file, &buffer, buffer.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw unreadable() }
                if count == 0 { break }
                XXH3_128bits_update(state, buffer, count)
            }
            let hash = XXH3_128bits_digest(state)
            return hex(hash.high64) + hex(hash.low64) + "." + format.rawValue
        }
    }

    private static func hex(_ number: UInt64) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
