import Fleet
import Synchronization

/// Makes identities that sort by the time of their making: UUIDs of version 7 (RFC 9562), in lower case.
package final class OrderedIDs: Sendable {
    /// Those of this process, whichever store they are for.
    package static let ofProcess = OrderedIDs()

    /// 48 bits of milliseconds, then 12 of a counter that tells apart what was made in the same one.
    private let last = Mutex<UInt64>(0)

    package init() {}

    func make<Subject>(at time: Timestamp) -> Identifier<Subject> {
        let ordered = last.withLock { last in
            last = max(UInt64(max(0, time.milliseconds)) << 12, last + 1)
            return last
        }
        var chance = Chance()
        return Identifier(
            high: (ordered >> 12) << 16 | 0x7000 | (ordered & 0xfff), low: chance.next() & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000)
    }

    /// As text not after any that is made at this time or later.
    static func first(at time: Timestamp) -> String { MigrationID(high: UInt64(max(0, time.milliseconds)) << 16, low: 0).value }
}
