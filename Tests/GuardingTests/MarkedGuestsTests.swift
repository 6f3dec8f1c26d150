import Foundation
import Testing

@testable import Guarding
@testable import Hypervisor

@Suite struct MarkedGuestsTests {
    @Test func `a mark that cannot be read keeps the guard from saying that no guest is left`() async throws {
        try await GuardHost.with { host in
            #expect(try MarkedGuests.end(host.files, withinMS: 100).areGone)
            let mark = "\(host.files.run)/torn\(GuestPaths.markSuffix)"
            try Data("{".utf8).write(to: URL(fileURLWithPath: mark))
            #expect(throws: (any Error).self) { try MarkedGuests.end(host.files, withinMS: 100) }
            try FileManager.default.removeItem(atPath: mark)
            #expect(try MarkedGuests.end(host.files, withinMS: 100).areGone)
        }
    }
}
