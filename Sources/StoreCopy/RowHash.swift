import Crypto
import Foundation
import SQL

/// A SHA-256 over rows, in which no two different sequences of values look alike.
struct RowHash {
    private var hash = SHA256()
    private(set) var rows = 0

    mutating func add(_ row: SQLRow) {
        rows += 1
        for value in row.values {
            switch value {
            case .null: add(0, [])
            case .integer(let value): withUnsafeBytes(of: value.littleEndian) { add(1, Array($0)) }
            case .real(let value): withUnsafeBytes(of: value.bitPattern.littleEndian) { add(2, Array($0)) }
            case .text(let value): add(3, Array(value.utf8))
            case .blob(let value): add(4, value)
            }
        }
    }

    private mutating func add(_ kind: UInt8, _ bytes: [UInt8]) {
        hash.update(data: [kind])
        withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { hash.update(bufferPointer: $0) }
        hash.update(data: bytes)
    }

    /// In hexadecimal.
    var text: String {
        hash.finalize().map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
