import Foundation

/// Chunks of a file by number, a bit each.
package struct ChunkSet: Hashable, Sendable {
    private var words: [UInt64]
    /// How many chunks the file has.
    package let capacity: Int
    package private(set) var count = 0

    package init(capacity: Int) {
        self.capacity = capacity
        words = [UInt64](repeating: 0, count: (capacity + 63) / 64)
    }

    package func contains(_ chunk: Int) -> Bool { words[chunk / 64] & (1 << UInt64(chunk % 64)) != 0 }

    package mutating func insert(_ chunk: Int) {
        guard !contains(chunk) else { return }
        words[chunk / 64] |= 1 << UInt64(chunk % 64)
        count += 1
    }

    package mutating func remove(_ chunk: Int) {
        guard contains(chunk) else { return }
        words[chunk / 64] &= ~(1 << UInt64(chunk % 64))
        count -= 1
    }

    package mutating func formIntersection(_ other: ChunkSet) {
        for index in words.indices { words[index] &= other.words[index] }
        count = words.reduce(0) { $0 + $1.nonzeroBitCount }
    }

    /// The first chunk from `start` on that is in this set and not in the other; nil when there is none.
    package func first(from start: Int, notIn other: ChunkSet) -> Int? {
        guard start < capacity else { return nil }
        var index = start / 64
        var word = words[index] & ~other.words[index] & (UInt64.max << UInt64(start % 64))
        while word == 0 {
            index += 1
            guard index < words.count else { return nil }
            word = words[index] & ~other.words[index]
        }
        return index * 64 + word.trailingZeroBitCount
    }

    /// Runs of chunks that are not in the set, each at most so long.
    package func gaps(atMost length: Int) -> [Range<Int>] {
        var gaps: [Range<Int>] = []
        var start: Int?
        for chunk in 0...capacity {
            let isGap = chunk < capacity && !contains(chunk)
            if let begun = start, !isGap || chunk - begun == length {
                gaps.append(begun..<chunk)
                start = nil
            }
            if isGap, start == nil { start = chunk }
        }
        return gaps
    }
}

extension ChunkSet: Codable {
    private enum CodingKeys: String, CodingKey {
        case capacity, bits
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(capacity: try values.decode(Int.self, forKey: .capacity))
        let bits = try values.decode(Data.self, forKey: .bits)
        guard capacity >= 0, bits.count == words.count * 8 else {
            throw DecodingError.dataCorruptedError(forKey: .bits, in: values, debugDescription: "as many bits as chunks are needed")
        }
        bits.withUnsafeBytes { bytes in
            for index in words.indices {
                words[index] = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
            }
        }
        count = words.reduce(0) { $0 + $1.nonzeroBitCount }
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(capacity, forKey: .capacity)
        let bits = words.map(\.littleEndian).withUnsafeBytes { Data($0) }
        try values.encode(bits, forKey: .bits)
    }
}
