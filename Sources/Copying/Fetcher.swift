import AgentAPI
import Fleet

/// A connection with its lane and its buffer.
struct Fetcher: Sendable {
    private let lane: Lane
    private let connection: NBDConnection
    private let buffer: AlignedBuffer
    private let switchboard: Switchboard

    static func connect(
        _ server: NBDServer, _ file: FileToCopy, chunkBytes: Int, _ switchboard: Switchboard
    ) async throws -> Fetcher {
        let lane = Lane("fetch")
        let connection = try await lane.run {
            try NBDConnection(server, export: file.name) { switchboard.isAborted }
        }
        switchboard.add(connection)
        return Fetcher(lane: lane, connection: connection, buffer: AlignedBuffer(count: chunkBytes), switchboard: switchboard)
    }

    /// Where the file has data.
    func data(gap: Int64, expecting length: Int64) async throws -> [Range<Int64>] {
        try await lane.run { [connection, switchboard] in
            let size = try connection.size()
            guard size >= length, size - length < 1 << 20 else {
                throw AgentProblem(.failed, .diskError, "the source lends \(size) bytes, and said that the file has \(length)")
            }
            return try connection.data(size: length, block: Int64(AlignedBuffer.alignment), gap: gap) { switchboard.isAborted }
        }
    }

    /// Copies from the source to the target. Ranges begin at whole blocks; the last may end with the file.
    func fetch(_ segments: [Range<Int64>], into target: TargetFile) async throws {
        try await lane.run { [connection, buffer] in
            let block = Int64(AlignedBuffer.alignment)
            for segment in segments {
                let count = Int(segment.upperBound - segment.lowerBound)
                let whole = Int((Int64(count) + block - 1) / block * block)
                let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<whole])
                try connection.read(into: bytes, offset: segment.lowerBound, count: count)
                // What a block has beyond the file's end is cut off with the copy's.
                if whole > count { UnsafeMutableRawBufferPointer(rebasing: bytes[count...]).initializeMemory(as: UInt8.self, repeating: 0) }
                try target.write(UnsafeRawBufferPointer(bytes), at: segment.lowerBound)
            }
        }
    }
}
