/// Sizes as people write them.
enum ByteSize {
    /// `10G`, `512M`, `1.5T`, `10GiB`, `4096`: powers of 1024 as in qemu-img; plain numbers are bytes.
    ///
    /// Nil for what is none, is not positive, or is no whole number of bytes.
    static func bytes(_ text: String) -> Int64? {
        let suffixes: [(Character, Int64)] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40), ("P", 1 << 50)]
        var number = Substring(text)
        if number.hasSuffix("iB") { number = number.dropLast(2) }
        let isBinary = number.count < text.count
        var factor: Int64 = 1
        if let last = number.last, let suffix = suffixes.first(where: { String($0.0) == last.uppercased() }) {
            factor = suffix.1
            number = number.dropLast()
        } else if isBinary {
            return nil
        }
        guard !number.isEmpty, number.utf8.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x2e }) else { return nil }
        if let whole = Int64(number) {
            let (bytes, overflow) = whole.multipliedReportingOverflow(by: factor)
            return overflow || bytes <= 0 ? nil : bytes
        }
        guard let fraction = Double(number) else { return nil }
        return Int64(exactly: fraction * Double(factor)).flatMap { $0 > 0 ? $0 : nil }
    }
}
