/// How far a copy is, and what it took.
package struct CopyFigures: Hashable, Sendable, Codable {
    /// Bytes of the source that are data and not holes; 0 before the source was asked.
    package var bytesTotal: Int64 = 0
    /// Of these, the ones that stand on the target.
    package var bytesDone: Int64 = 0
    /// Of these, the ones that were read back and found equal to the source.
    package var bytesVerified: Int64 = 0
    /// Bytes that came over the wire, in all tries together.
    package var bytesFetched: Int64 = 0
    /// Bytes that an earlier try had left beyond its last checkpoint, and that were found equal to the source instead of being fetched again.
    package var bytesCompared: Int64 = 0
    /// Chunks that differed from the source and were fetched again.
    package var chunksRepaired: Int64 = 0

    package init() {}

    package static func + (left: CopyFigures, right: CopyFigures) -> CopyFigures {
        var sum = left
        sum.bytesTotal += right.bytesTotal
        sum.bytesDone += right.bytesDone
        sum.bytesVerified += right.bytesVerified
        sum.bytesFetched += right.bytesFetched
        sum.bytesCompared += right.bytesCompared
        sum.chunksRepaired += right.chunksRepaired
        return sum
    }
}
