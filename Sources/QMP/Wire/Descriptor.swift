import Glibc

/// A file descriptor that is closed when its last owner lets go of it.
final class Descriptor: Sendable {
    let number: Int32

    init(owning number: Int32) {
        self.number = number
    }

    /// A second descriptor of the same open file, closed in programs that this one executes.
    /// - Throws: `.invalidRequest` when there is no such open file.
    convenience init(duplicating number: Int32) throws(QMPError) {
        let copy = fcntl(number, F_DUPFD_CLOEXEC, 0)
        guard copy >= 0 else {
            throw QMPError(.invalidRequest, "descriptor \(number) cannot be passed to QEMU: \(systemMessage(errno))")
        }
        self.init(owning: copy)
    }

    deinit {
        _ = close(number)
    }
}

/// What the C library calls that error number.
func systemMessage(_ number: Int32) -> String {
    // strerror() shares one buffer among threads.
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
        guard let base = buffer.baseAddress, strerror_r(number, base, buffer.count) == 0 else { return "error \(number)" }
        return String(cString: base)
    }
}
