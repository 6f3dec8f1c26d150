package import AgentAPI
import Fleet
import Foundation
import Glibc

/// What lies in a storage, whoever it belongs to.
package enum StorageSurvey {
    /// Names that are no server's: base images, proofs that a storage is shared, and what a file system keeps for itself.
    private static func isOurs(_ name: String) -> Bool { name == ".base" || name.hasPrefix(".proof-") || name == "lost+found" }

    /// Every file and folder in it but those; blocks for as long as the storage does.
    /// - Parameter kept: folders that belong to what is kept.
    package static func entries(of storage: AgentConfiguration.StoragePath, kept: Set<String>) throws -> [StorageEntry] {
        try DurableFile.names(in: storage.path).filter { !isOurs($0) }.map { name in
            let path = "\(storage.path)/\(name)"
            return StorageEntry(
                storage: storage.name, kind: storage.kind, name: name, path: path, bytes: size(of: path), isKept: kept.contains(path))
        }
    }

    /// What a file, or all below a folder, takes on the disk, in bytes.
    package static func size(of path: String) -> Int64 {
        var sum = blocks(of: path)
        guard let files = FileManager.default.enumerator(atPath: path) else { return sum }
        for case let name as String in files { sum += blocks(of: "\(path)/\(name)") }
        return sum
    }

    private static func blocks(of path: String) -> Int64 {
        var status = stat()
        return lstat(path, &status) == 0 ? Int64(status.st_blocks) * 512 : 0
    }
}
