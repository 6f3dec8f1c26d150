/// How much of a guest's memory was another than before at the end of a span of time: each page counts once, however often it was written.
package struct DirtyWindow: Hashable, Sendable, Codable {
    package var milliseconds: Int64
    package var bytes: Int64

    package init(milliseconds: Int64, bytes: Int64) {
        self.milliseconds = milliseconds
        self.bytes = bytes
    }
}
