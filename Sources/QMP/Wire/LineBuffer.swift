import Glibc

/// Cuts the stream of a monitor into its lines: QEMU ends each message with CR LF and puts no line break inside one.
struct LineBuffer {
    /// In bytes. No message comes near: `query-qmp-schema`, the longest, has some 200 KB.
    let longest: Int

    private var bytes: [UInt8] = []
    /// Up to here no line feed was found, so that a long line is searched only once.
    private var searched = 0

    init(longest: Int = 64 << 20) {
        self.longest = longest
    }

    /// Whether a message has begun that has not ended.
    var isInsideLine: Bool { !bytes.isEmpty }

    /// Takes the next bytes and returns the lines that they complete, without line ends, empty ones left out.
    /// - Throws: `.protocolViolation` when a line does not end.
    mutating func append(_ more: UnsafeRawBufferPointer) throws(QMPError) -> [[UInt8]] {
        bytes.append(contentsOf: more)
        var lines: [[UInt8]] = []
        var start = 0
        while let end = lineFeed(from: searched) {
            let line = end > start && bytes[end - 1] == UInt8(ascii: "\r") ? bytes[start..<end - 1] : bytes[start..<end]
            if !line.isEmpty { lines.append(Array(line)) }
            start = end + 1
            searched = start
        }
        bytes.removeFirst(start)
        searched = bytes.count
        guard bytes.count <= longest else {
            throw QMPError(.protocolViolation, "the peer sent more than \(longest) bytes without ending its message: it is no QEMU monitor")
        }
        return lines
    }

    private func lineFeed(from start: Int) -> Int? {
        bytes.withUnsafeBytes { buffer in
            guard start < buffer.count, let base = buffer.baseAddress, let found = memchr(base + start, 0x0a, buffer.count - start) else {
                return nil
            }
            return UnsafeRawPointer(found) - base
        }
    }
}
