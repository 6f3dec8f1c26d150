import Dispatch
package import Fleet
import Foundation

extension Timestamp {
    /// Now, in microseconds since 1970, on the clock that QEMU stamps its events with.
    package static var microseconds: Int64 { Int64((Date().timeIntervalSince1970 * 1_000_000).rounded(.down)) }

    /// Milliseconds since the host was started, suspensions left out: the same for an agent that comes after this one.
    package static var uptimeMS: Int64 { Int64(DispatchTime.now().uptimeNanoseconds / 1_000_000) }
}
