import Hypervisor
import Synchronization

/// Which base images are being brought to this host: of several servers that need the same one, one brings it.
final class Arrivals: Sendable {
    static let shared = Arrivals()
    private let under = Mutex<[String: FileCopy]>([:])
    /// Rung when one of them has ended, well or not.
    let bell = Bell()

    /// Has the image at that path brought by this copy.
    /// - Returns: the copy that brings it already; nil when it is this one's to bring, until ``leave(_:)``.
    func take(_ path: String, by copy: FileCopy) -> FileCopy? {
        under.withLock { under in
            if let other = under[path] { return other }
            under[path] = copy
            return nil
        }
    }

    func leave(_ path: String) {
        under.withLock { $0[path] = nil }
        bell.ring()
    }
}
