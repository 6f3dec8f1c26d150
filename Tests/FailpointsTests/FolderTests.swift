import Foundation
import Testing

@testable import Failpoints

@Suite
struct FolderTests {
    private let point = Failpoint.store(.claim, .after)

    private func withFolder(_ body: (URL, FailpointFolder) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "godwit-failpoints-\(UUID().uuidString.prefix(8))")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { #expect(throws: Never.self) { try FileManager.default.removeItem(at: folder) } }
        try body(folder, FailpointFolder(path: folder.path))
    }

    @Test func `an action is taken by one of all that reach the point`() throws {
        try withFolder { folder, points in
            #expect(try points.take(point) == nil)
            try Data("delay:7\n".utf8).write(to: folder.appending(path: point.name))
            #expect(try points.take(point) == .delay(7))
            #expect(try points.take(point) == nil)
        }
    }

    @Test func `a hold tells who is held, and lasts until its file is gone`() throws {
        try withFolder { folder, points in
            points.beginHold(point)
            let held = folder.appending(path: "\(point.name).held")
            #expect(try String(contentsOf: held, encoding: .utf8) == "\(getpid())")
            #expect(points.isHeld(point))
            try FileManager.default.removeItem(at: held)
            #expect(!points.isHeld(point))
        }
    }
}
