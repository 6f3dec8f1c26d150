import AgentAPI
import Fleet
import Foundation
import Glibc
package import Hypervisor

/// A lent file as its own host sees it: digests of its chunks, for whoever copies it to compare with.
package enum FileDigests {
    /// Digests of chunks, in the order asked for; nil for one that is a hole from end to end. The last chunk ends with the file.
    ///
    /// Reads the file: to be run where it holds up no task.
    /// - Throws: ``AgentProblem`` with `disk-error`, or of kind `invalid` for chunks that the file has not.
    package static func compute(_ path: String, chunkBytes: Int, chunks: [Range<Int>]) throws -> [Digest?] {
        guard chunkBytes >= 4096, chunkBytes <= 64 << 20 else {
            throw AgentProblem(.invalid, .invalidRequest, "chunks of \(chunkBytes) bytes: give 4096 to \(64 << 20)")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw AgentProblem(.failed, .diskError, "\(path) cannot be read: \(systemMessage(errno))")
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            throw AgentProblem(.failed, .diskError, "\(path) cannot be read: \(systemMessage(errno))")
        }
        let size = Int64(status.st_size)
        let buffer = AlignedBuffer(count: chunkBytes)
        var digests: [Digest?] = []
        for run in chunks {
            for chunk in run {
                let begin = Int64(chunk) * Int64(chunkBytes)
                guard chunk >= 0, begin < size else {
                    throw AgentProblem(.invalid, .invalidRequest, "\(path) has no chunk \(chunk) of \(chunkBytes) bytes")
                }
                let end = min(size, begin + Int64(chunkBytes))
                guard FileExtents.hasData(descriptor, begin..<end) else {
                    digests.append(nil)
                    continue
                }
                let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<Int(end - begin)])
                try read(descriptor, into: bytes, at: begin, path)
                digests.append(Digest(UnsafeRawBufferPointer(bytes)))
            }
        }
        return digests
    }

    private static func read(_ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int64, _ path: String) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw AgentProblem(
                    .failed, .diskError, "\(path) cannot be read at \(offset): \(count == 0 ? "it is shorter now" : systemMessage(errno))")
            }
            done += count
        }
    }
}
