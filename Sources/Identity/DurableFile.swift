import Foundation

/// A small file that is there in full or not at all, also over a power cut.
package enum DurableFile {
    /// Writes beside `path`, syncs, and renames over it.
    ///
    /// - Parameter mode: the file's permissions from its first byte on: 0600 for keys.
    /// - Throws: ``IdentityError`` with `unwritable`.
    package static func write(_ text: String, to path: String, mode: UInt32) throws(IdentityError) {
        let directory = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let draft = "\(path).\(getpid()).\(UInt32.random(in: 0...UInt32.max)).new"
        func fail(_ call: String) -> IdentityError {
            let why = String(cString: strerror(errno))
            unlink(draft)
            return IdentityError(.unwritable, "Cannot write \(path): \(call): \(why).")
        }
        let file = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard file >= 0 else { throw fail("open") }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(file, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else {
                let error = fail("write")
                close(file)
                throw error
            }
            rest = rest.dropFirst(written)
        }
        // The umask may have taken bits away from what was asked for; it can never have added any.
        guard fchmod(file, mode) == 0, fsync(file) == 0 else {
            let error = fail("fsync")
            close(file)
            throw error
        }
        guard close(file) == 0 else { throw fail("close") }
        guard rename(draft, path) == 0 else { throw fail("rename") }
        let folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw fail("open") }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw fail("fsync") }
    }

    /// - Throws: ``IdentityError`` with `unreadable`.
    package static func read(_ path: String) throws(IdentityError) -> String {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw IdentityError(.unreadable, "Cannot read \(path): \(String(cString: strerror(errno))).")
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw IdentityError(.unreadable, "\(path) is no text file.")
        }
        return text
    }
}
