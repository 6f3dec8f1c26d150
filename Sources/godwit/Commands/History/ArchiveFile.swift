import Foundation
import Glibc
import Output

/// A new file that what is to go from the store is written to first.
///
/// Throws ``CommandFailure`` with the path and what to do.
struct ArchiveFile: Sendable {
    private let descriptor: Int32
    private let path: String

    /// Makes the file, durably; one that is there already is left alone and refused.
    init(creating path: String) throws(CommandFailure) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else {
            guard errno != EEXIST else { throw .failed("The file \(path) exists; give a new one, nothing is written over.") }
            throw failure("made")
        }
        let parent = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let folder = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { _ = Glibc.close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else { throw failure("made") }
    }

    func write(_ text: String) throws(CommandFailure) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { throw failure("written") }
            rest = rest.dropFirst(written)
        }
    }

    /// Returns when all that was written is on the disk.
    func synchronize() throws(CommandFailure) {
        guard fsync(descriptor) == 0 else { throw failure("written") }
    }

    func close() throws(CommandFailure) {
        guard Glibc.close(descriptor) == 0 else { throw failure("written") }
    }

    private func failure(_ done: String) -> CommandFailure {
        let why = String(cString: strerror(errno))
        return .failed("The file \(path) cannot be \(done): \(why). What was not written to it safely is in the store still.")
    }
}
