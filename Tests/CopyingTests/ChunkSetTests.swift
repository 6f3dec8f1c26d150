import Foundation
import Testing

@testable import Copying

@Suite struct ChunkSetTests {
    @Test func `finds what is missing`() throws {
        var wanted = ChunkSet(capacity: 200)
        for chunk in [0, 5, 63, 64, 130, 199] { wanted.insert(chunk) }
        var done = ChunkSet(capacity: 200)
        done.insert(5)
        done.insert(64)
        var found: [Int] = []
        var next = wanted.first(from: 0, notIn: done)
        while let chunk = next {
            found.append(chunk)
            next = wanted.first(from: chunk + 1, notIn: done)
        }
        #expect(found == [0, 63, 130, 199])
        #expect(wanted.count == 6 && done.count == 2)
        done.formIntersection(wanted)
        #expect(done.count == 2)
        wanted.remove(5)
        wanted.remove(5)
        #expect(wanted.count == 5 && !wanted.contains(5))
    }

    @Test func `gaps are what is not in it`() {
        var set = ChunkSet(capacity: 10)
        #expect(set.gaps(atMost: 4) == [0..<4, 4..<8, 8..<10])
        for chunk in [0, 1, 5] { set.insert(chunk) }
        #expect(set.gaps(atMost: 100) == [2..<5, 6..<10])
        #expect(ChunkSet(capacity: 0).gaps(atMost: 4).isEmpty)
    }

    @Test func `comes back from JSON`() throws {
        var set = ChunkSet(capacity: 77)
        for chunk in stride(from: 0, to: 77, by: 3) { set.insert(chunk) }
        #expect(try JSONDecoder().decode(ChunkSet.self, from: JSONEncoder().encode(set)) == set)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(ChunkSet.self, from: Data(#"{"capacity":77,"bits":"AAAA"}"#.utf8))
        }
    }
}
