import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor

/// The file that a copy fills, through the page cache: what was written is on its way to the disk at once, and on it for good with the next
/// flush; what is read back is the file as the kernel has it, without waiting for the disk again. (Direct I/O costs less of the processor,
/// but to read back what was just written then takes as long as to write it.)
///
/// Its descriptor is used from several threads at once, with positions of their own (`pread`, `pwrite`), and closed with the last reference.
final class TargetFile: Sendable {
    let path: String
    private let descriptor: Int32

    /// Opens the file, or makes it.
    init(_ path: String) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Self.failure("opened", path) }
    }

    deinit {
        close(descriptor)
    }

    private static func failure(_ verb: String, _ path: String) -> AgentProblem {
        let problem = errno
        let isFull = problem == ENOSPC || problem == EDQUOT
        return AgentProblem(.failed, isFull ? .diskFull : .diskError, "\(path) cannot be \(verb): \(systemMessage(problem))")
    }

    /// Makes it so long; what is new reads as zeroes and takes no room.
    func setLength(_ bytes: Int64) throws {
        guard ftruncate(descriptor, off_t(bytes)) == 0 else { throw Self.failure("resized", path) }
    }

    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws {
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress.map { $0 + done }, bytes.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                // A write that was cut short says nothing of why; the next one does.
                if count == 0 { errno = ENOSPC }
                throw Self.failure("written", path)
            }
            done += count
        }
        // Linux begins to write back what it is told will not be needed: the disk is busy from now on and not only at the next flush.
        letGo(offset..<offset + Int64(bytes.count))
    }

    /// Has what is on the disk already out of the page cache, so that a large file does not drive out all else.
    func letGo(_ range: Range<Int64>) {
        _ = posix_fadvise(descriptor, off_t(range.lowerBound), off_t(range.upperBound - range.lowerBound), Int32(POSIX_FADV_DONTNEED))
    }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                if count == 0 { errno = EIO }
                throw Self.failure("read back", path)
            }
            done += count
        }
    }

    /// Whether anything but a hole lies there, as far as the file system tells.
    func hasData(_ range: Range<Int64>) -> Bool { FileExtents.hasData(descriptor, range) }

    /// Has it read as zeroes.
    func clear(_ range: Range<Int64>) throws {
        let zeroes = AlignedBuffer(count: Int(range.upperBound - range.lowerBound))
        zeroes.bytes.initializeMemory(as: UInt8.self, repeating: 0)
        try write(UnsafeRawBufferPointer(zeroes.bytes), at: range.lowerBound)
    }

    /// Has everything written so far on the disk for good.
    func flush() throws {
        guard fdatasync(descriptor) == 0 else { throw Self.failure("flushed", path) }
    }
}

/// What a file system tells of where a file has data (lseek(2): SEEK_DATA).
enum FileExtents {
    /// `SEEK_DATA`, which Glibc's module leaves out.
    private static let seekData: Int32 = 3

    static func hasData(_ descriptor: Int32, _ range: Range<Int64>) -> Bool {
        let found = lseek(descriptor, off_t(range.lowerBound), seekData)
        if found < 0 { return errno != ENXIO }
        return found < range.upperBound
    }
}
