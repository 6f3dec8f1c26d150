import Foundation
import Glibc
import Output

/// Holds a state folder for one `godwit dev`. The kernel lets go of it when the process ends, however it ends.
struct DevLock: ~Copyable {
    private let file: Int32

    /// - Throws: ``CommandFailure`` naming the process that holds it.
    init(_ path: String) throws {
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw CommandFailure.failed("Cannot open \(path): \(String(cString: strerror(errno))).") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let holder = FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
            close(file)
            let pid = holder.trimmingCharacters(in: .whitespacesAndNewlines)
            throw CommandFailure.failed(
                "A godwit dev\(pid.isEmpty ? "" : " (pid \(pid))") runs on \(URL(fileURLWithPath: path).deletingLastPathComponent().path) already; end it first, or choose another folder with --state."
            )
        }
        let text = Array("\(getpid())\n".utf8)
        guard ftruncate(file, 0) == 0, pwrite(file, text, text.count, 0) == text.count else {
            let why = String(cString: strerror(errno))
            close(file)
            throw CommandFailure.failed("Cannot write \(path): \(why).")
        }
        self.file = file
    }

    deinit { close(file) }
}
