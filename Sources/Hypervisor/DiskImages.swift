import AgentAPI
package import Fleet
import Foundation
import Glibc

/// The files of a host's disks, made and looked at with qemu-img.
package struct DiskImages: Sendable {
    package let qemuImg: String

    package init(qemuImg: String) {
        self.qemuImg = qemuImg
    }

    /// For anything but copying.
    private static let quick = Duration.seconds(30)
    private static let copying = Duration.seconds(3600)

    package struct Image: Hashable, Sendable {
        package var format: String
        package var virtualSize: Int64
        package var actualSize: Int64
    }

    /// Looks at an image that a new disk is to be filled from.
    ///
    /// A file in a format that says what it is (qcow2, vmdk, vdi, vhdx, …) is taken, unless it refers to other files. Anything else is "raw" to
    /// QEMU; it is taken only as a whole number of sectors that either carries a boot signature (55 AA) or a GPT, or is called .raw, .img or .iso.
    /// - Throws: ``AgentProblem`` of kind `invalid` when it is none.
    package func inspect(image path: String) async throws -> Image {
        let info = try await look(at: path)
        if let backing = info.backingFilename {
            throw Self.refuse(path, "it rests on another image, \(backing): flatten it first with qemu-img convert, or give it as base")
        }
        return Image(format: info.format, virtualSize: info.virtualSize, actualSize: info.actualSize ?? info.virtualSize)
    }

    private static func refuse(_ path: String, _ why: String) -> AgentProblem {
        AgentProblem(.invalid, .invalidRequest, "\(path) is not usable as a disk image: \(why)")
    }

    /// One image of a chain.
    package struct Link: Hashable, Sendable {
        package var path: String
        package var format: DiskFormat
        package var virtualSize: Int64
        package var actualSize: Int64
    }

    /// An image that a new disk is to rest on, and all that it rests on itself, nearest first. Each must be one that a disk could be filled
    /// from, and qcow2 or raw.
    /// - Throws: ``AgentProblem`` of kind `invalid` when one of them is not.
    package func chain(of path: String) async throws -> [Link] {
        var links: [Link] = []
        var next: String? = path
        while let path = next {
            guard !links.contains(where: { $0.path == path }), links.count < 64 else { throw Self.refuse(path, "it rests on itself") }
            let info = try await look(at: path)
            guard let format = DiskFormat(rawValue: info.format) else {
                throw Self.refuse(path, "a disk can rest on qcow2 and raw, not on \(info.format): convert it first with qemu-img convert")
            }
            links.append(
                Link(path: path, format: format, virtualSize: info.virtualSize, actualSize: info.actualSize ?? info.virtualSize))
            next = info.fullBackingFilename ?? info.backingFilename
        }
        return links
    }

    /// Has an image rest on another, whose content is what it rested on before; only the reference is written.
    package func rebase(_ path: String, format: DiskFormat, onto reference: String, _ lower: DiskFormat) async throws {
        _ = try await Program.succeed(
            qemuImg, ["rebase", "-q", "-u", "-f", format.rawValue, "-F", lower.rawValue, "-b", reference, path], deadline: Self.quick,
            code: .diskError, for: "\(path) cannot be made to rest on \(reference)")
    }

    /// What an image is, when it is one that may be read as it stands.
    private func look(at path: String) async throws -> ImageInfo {
        func refuse(_ why: String) -> AgentProblem { Self.refuse(path, why) }
        var status = stat()
        guard path.hasPrefix("/"), stat(path, &status) == 0 else {
            throw refuse("there is no such file on this host; give an absolute path")
        }
        guard status.st_mode & S_IFMT == S_IFREG || status.st_mode & S_IFMT == S_IFBLK else { throw refuse("it is no file") }
        let info: ImageInfo
        do {
            info = try await self.info(path)
        } catch let problem as AgentProblem {
            throw refuse(problem.reason.message)
        }
        if let data = info.formatSpecific?.data?.dataFile {
            throw refuse("its data is in another file, \(data): flatten it first with qemu-img convert")
        }
        if info.format == "raw" {
            let size = Int64(status.st_size)
            guard status.st_mode & S_IFMT == S_IFBLK || (size > 0 && size % 512 == 0) else {
                throw refuse("no known format, and its \(size) bytes are no whole number of sectors")
            }
            let isNamed = [".raw", ".img", ".iso"].contains { path.lowercased().hasSuffix($0) }
            guard try isNamed || Self.hasBootSignature(path) else {
                throw refuse("no known format and no boot signature; if it is a raw image, let its name end in .raw or .img")
            }
        }
        return info
    }

    private static func hasBootSignature(_ path: String) throws -> Bool {
        let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
        defer { try? file.close() }
        guard let head = try file.read(upToCount: 1024), head.count >= 512 else { return false }
        return head[510] == 0x55 && head[511] == 0xaa || head.dropFirst(512).starts(with: Array("EFI PART".utf8))
    }

    private struct ImageInfo: Decodable {
        struct Specific: Decodable {
            struct Details: Decodable {
                var dataFile: String?
                enum CodingKeys: String, CodingKey { case dataFile = "data-file" }
            }
            var data: Details?
        }

        var format: String
        var virtualSize: Int64
        var actualSize: Int64?
        var backingFilename: String?
        var fullBackingFilename: String?
        var formatSpecific: Specific?

        enum CodingKeys: String, CodingKey {
            case format
            case virtualSize = "virtual-size"
            case actualSize = "actual-size"
            case backingFilename = "backing-filename"
            case fullBackingFilename = "full-backing-filename"
            case formatSpecific = "format-specific"
        }
    }

    private func info(_ path: String) async throws -> ImageInfo {
        let text = try await Program.succeed(
            qemuImg, ["info", "--output=json", "-U", path], deadline: Self.quick, code: .diskError, for: "\(path) cannot be read")
        return try JSONDecoder().decode(ImageInfo.self, from: Data(text.utf8))
    }

    /// Has the disk's file there: as it is if it is there already, else new. A half-made one never bears the final name.
    /// - Parameter image: what to fill it from, with its format.
    package func ensure(_ disk: GuestDescription.Disk, at path: String, from image: (path: String, look: Image)?) async throws {
        if access(path, F_OK) == 0 {
            let size = try await info(path).virtualSize
            guard size == disk.sizeBytes else {
                throw AgentProblem(
                    .conflict, .diskError, "disk \(path) is there with \(size) bytes, not with the \(disk.sizeBytes) asked for")
            }
            return
        }
        try DurableFile.makeFolder((path as NSString).deletingLastPathComponent)
        let draft = path + ".partial"
        do {
            try await fill(disk, at: draft, from: image)
            guard rename(draft, path) == 0 else {
                throw AgentProblem(.failed, .diskError, "\(draft) cannot be renamed to \(path): \(systemMessage(errno))")
            }
            try DurableFile.syncFolder(of: path)
        } catch {
            unlink(draft)
            throw error
        }
    }

    private func fill(_ disk: GuestDescription.Disk, at path: String, from image: (path: String, look: Image)?) async throws {
        unlink(path)
        let size = String(disk.sizeBytes)
        if let bases = disk.bases, let base = bases.first {
            try await makeOverlay(disk, on: base, allOf: bases, at: path)
            return
        }
        guard let image else {
            _ = try await Program.succeed(
                qemuImg, ["create", "-q", "-f", disk.format.rawValue, path, size], deadline: Self.quick, code: .diskError,
                for: "disk \(disk.name) cannot be made")
            return
        }
        _ = try await Program.succeed(
            qemuImg, ["convert", "-q", "-W", "-f", image.look.format, "-O", disk.format.rawValue, image.path, path], deadline: Self.copying,
            code: .diskError, for: "disk \(disk.name) cannot be made from \(image.path)")
        if image.look.virtualSize < disk.sizeBytes {
            _ = try await Program.succeed(
                qemuImg, ["resize", "-q", "-f", disk.format.rawValue, path, size], deadline: Self.quick, code: .diskError,
                for: "disk \(disk.name) cannot be grown")
        }
    }

    /// A disk that holds only what differs from its base.
    private func makeOverlay(
        _ disk: GuestDescription.Disk, on base: GuestDescription.BaseImage, allOf bases: [GuestDescription.BaseImage], at path: String
    ) async throws {
        let storage = ((path as NSString).deletingLastPathComponent as NSString).deletingLastPathComponent
        try await BaseImages.holding([storage]) { try await makeOverlay(disk, on: base, allOf: bases, at: path, storage) }
    }

    private func makeOverlay(
        _ disk: GuestDescription.Disk, on base: GuestDescription.BaseImage, allOf bases: [GuestDescription.BaseImage], at path: String,
        _ storage: String
    ) async throws {
        if let missing = try BaseImages.missing(bases, on: storage).first {
            throw AgentProblem(
                .failed, .baseMissing,
                "storage \(disk.storage) has no base image \(missing.name), which disk \(disk.name) rests on: bring it there, or choose another host"
            )
        }
        _ = try await Program.succeed(
            qemuImg,
            [
                "create", "-q", "-f", disk.format.rawValue, "-F", base.format.rawValue, "-b", BaseImages.reference(fromDisk: base), path,
                String(disk.sizeBytes),
            ], deadline: Self.quick, code: .diskError, for: "disk \(disk.name) cannot be made")
    }

    /// - Throws: `disk-full` when the folder's file system has less room than that.
    package static func checkRoom(for bytes: Int64, in folder: String, storage: String) throws {
        let free = try Room(of: folder).free
        guard free >= bytes else {
            throw AgentProblem(
                .failed, .diskFull,
                "storage \(storage) has \(free >> 20) MiB free and \(bytes >> 20) MiB are needed: free some, or take another storage")
        }
    }

    #if arch(x86_64)
        /// `O_DIRECT`, which Glibc's module leaves out.
        package static let directIO: Int32 = 0o40000
    #else
        package static let directIO: Int32 = 0o200000
    #endif

    /// Whether the file system takes direct I/O: tmpfs, for one, does not.
    package static func takesDirectIO(_ path: String) -> Bool {
        let descriptor = open(path, O_RDWR | directIO | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        close(descriptor)
        return true
    }

    /// Has nothing left of a server on a storage.
    package static func removeFolder(_ path: String) throws {
        do {
            try FileManager.default.removeItem(atPath: path)
        } catch CocoaError.fileNoSuchFile {
            return
        } catch {
            throw AgentProblem(.failed, .diskError, "\(path) cannot be removed: \(error.localizedDescription)")
        }
        try DurableFile.syncFolder(of: path)
    }
}
