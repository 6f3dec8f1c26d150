import Failpoints
import Foundation

/// The folder by which all processes of a fleet are told what is to happen at which failure point.
struct CrashPoints: Sendable {
    let folder: URL

    /// Nobody is held and nothing is ordered any more.
    func clear() throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) {
            // Whoever is held or takes an order just now may be faster.
            try? FileManager.default.removeItem(at: folder.appending(path: name))
        }
    }

    func order(_ action: String, at point: String) throws {
        let draft = folder.appending(path: "order")
        try Data(action.utf8).write(to: draft)
        let place = folder.appending(path: point)
        guard rename(draft.path, place.path) == 0 else { throw Failure("\(place.path) cannot be made") }
    }

    func isHeld(at point: String) -> Bool { exists("\(point).held") }

    func release(_ point: String) { try? FileManager.default.removeItem(at: folder.appending(path: "\(point).held")) }

    /// Has every point tell whether it is reached.
    func watchAll() throws {
        try clear()
        for point in Failpoint.all { try order("delay:0", at: point.name) }
    }

    /// Those that were reached since, in their order.
    func reached() -> [String] { Failpoint.all.map(\.name).filter { exists("\($0).taken") } }

    private func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: folder.appending(path: name).path) }
}
