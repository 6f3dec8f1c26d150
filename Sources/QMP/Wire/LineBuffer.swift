/// Cuts the stream of a monitor into its lines: QEMU ends each message with CR LF and puts no line break inside one.
struct LineBuffer {
    /// No message comes near: `query-qmp-schema`, the longest, has some 200 KB.
    static let longest = 64 << 20

    private var bytes: [UInt8] = []
    /// Up to here no line feed was found, so that a long line is searched only once.
    private var searched = 0

    /// Whether a message has begun that has not ended.
    var isInsideLine: Bool { !bytes.isEmpty }

    /// Takes the next bytes and returns the lines that they complete, without line ends, empty ones left out.
    /// - Throws: `.protocolViolation` when a line does not end.
    mutating func append(_ more: some Collection<UInt8>) throws(QMPError) -> [[UInt8]] {
        bytes.append(contentsOf: more)
        var lines: [[UInt8]] = []
        var start = 0
        while let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = bytes[start..<end].last == UInt8(ascii: "\r") ? bytes[start..<end - 1] : bytes[start..<end]
            if !line.isEmpty { lines.append(Array(line)) }
            start = end + 1
            searched = start
        }
        bytes.removeFirst(start)
        searched = bytes.count
        guard bytes.count <= Self.longest else {
            throw QMPError(
                .protocolViolation, "the peer sent more than \(Self.longest >> 20) MiB without ending its message: it is no QEMU monitor")
        }
        return lines
    }
}
