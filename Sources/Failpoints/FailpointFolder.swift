import Glibc

/// Orders for all processes that are told the same folder, by `GODWIT_FAILPOINTS_FOLDER`.
///
/// A file `NAME` holds an action. Whoever reaches the point first renames it to `NAME.taken`, so that it happens once, and in one process. One
/// that holds writes its pid to `NAME.held` and waits until that file is gone.
struct FailpointFolder: Hashable, Sendable {
    let path: String

    /// - Throws: ``UnknownFailpointAction``.
    func take(_ point: Failpoint) throws -> FailpointAction? {
        let file = "\(path)/\(point.name)"
        guard access(file, F_OK) == 0, rename(file, "\(file).taken") == 0 else { return nil }
        return try FailpointAction(Self.read("\(file).taken"))
    }

    func beginHold(_ point: Failpoint) {
        let draft = "\(path)/\(point.name).new"
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { return }
        let text = "\(getpid())"
        _ = text.withCString { write(file, $0, strlen($0)) }
        close(file)
        rename(draft, held(point))
    }

    func isHeld(_ point: Failpoint) -> Bool { access(held(point), F_OK) == 0 }

    private func held(_ point: Failpoint) -> String { "\(path)/\(point.name).held" }

    private static func read(_ file: String) -> String {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return "" }
        defer { close(descriptor) }
        return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
            let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            let text = String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
            return String(text.prefix { !$0.isNewline })
        }
    }
}
