/// The address of a network card: six octets, not multicast, not all zero.
struct MACAddress: Hashable, CustomStringConvertible {
    let octets: [UInt8]

    /// Nil unless the text is six pairs of hexadecimal digits with colons.
    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let octets = parts.compactMap { part in
            part.utf8.count == 2 && part.allSatisfy(\.isHexDigit) ? UInt8(part, radix: 16) : nil
        }
        // The lowest bit of the first octet marks a group (IEEE 802, chapter 8.2).
        guard parts.count == 6, octets.count == 6, octets[0] & 1 == 0, octets.contains(where: { $0 != 0 }) else { return nil }
        self.octets = octets
    }

    /// QEMU's prefix and three random octets.
    init(using generator: inout some RandomNumberGenerator) {
        self.octets = [0x52, 0x54, 0x00] + (0..<3).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    var description: String {
        octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}
