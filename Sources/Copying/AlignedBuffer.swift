import Glibc

/// Memory that direct I/O takes: begins at a whole block.
///
/// `@unchecked Sendable`: a buffer belongs to one ``Lane`` and is touched only by what runs on it, one piece after the other.
final class AlignedBuffer: @unchecked Sendable {
    /// The block that offsets, lengths and memory of direct I/O are multiples of.
    static let alignment = 4096

    let bytes: UnsafeMutableRawBufferPointer

    /// - Parameter count: bytes, a multiple of the block.
    init(count: Int) {
        bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: Self.alignment)
    }

    deinit {
        bytes.deallocate()
    }
}
