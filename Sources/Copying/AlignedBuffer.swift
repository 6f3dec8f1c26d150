import Glibc

/// Memory that begins at a whole block, as files are copied in.
///
/// `@unchecked Sendable`: a buffer belongs to one ``Lane`` and is touched only by what runs on it, one piece after the other.
final class AlignedBuffer: @unchecked Sendable {
    /// What offsets and lengths of what is copied are multiples of.
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
