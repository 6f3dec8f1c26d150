import AgentAPI
import Failpoints
import Foundation
import Glibc
import Hypervisor

/// What is known to stand in a partial file, written beside it after the file itself was flushed: where a copy goes on.
struct CopyJournal: Hashable, Sendable, Codable {
    /// Tells one content of the source's file from another; with another one nothing of the partial file counts.
    var identity: String
    var sizeBytes: Int64
    var chunkBytes: Int
    var done: ChunkSet
    /// Bytes that came over the wire so far.
    var fetchedBytes: Int64
    /// The whole file is there, and verified where that was asked for.
    var isComplete: Bool

    /// Nil when there is none, or none that can be read: then the copy begins anew.
    static func read(_ path: String) throws -> CopyJournal? {
        guard let bytes = try DurableFile.read(path) else { return nil }
        return try? JSONDecoder().decode(CopyJournal.self, from: bytes)
    }

    func write(to path: String) throws {
        try DurableFile.write(try JSONEncoder().encode(self), to: path, as: .copyJournal)
    }
}
