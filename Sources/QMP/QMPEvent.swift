/// Something that QEMU told of its own accord.
package struct QMPEvent: Sendable, Hashable {
    /// The QAPI event's name, such as `STOP`, `RESUME`, `MIGRATION` or `BLOCK_JOB_READY`.
    package let name: String
    /// The event's data; an empty object when it has none.
    package let data: JSONValue
    /// When it happened by QEMU's clock (the host's), in microseconds since 1970; nil when QEMU could not read its clock.
    package let timestamp: Int64?

    package init(name: String, data: JSONValue = [:], timestamp: Int64? = nil) {
        self.name = name
        self.data = data
        self.timestamp = timestamp
    }
}
