/// A reading of a host's own clock that nobody can set: it counts from the host's start, and while the host is suspended too.
package struct BootTime: Hashable, Sendable, Codable {
    /// Which start of the host it counts from: the kernel's random `boot_id`.
    package var bootID: String
    /// CLOCK_BOOTTIME.
    package var milliseconds: Int64

    package init(bootID: String, milliseconds: Int64) {
        self.bootID = bootID
        self.milliseconds = milliseconds
    }
}
