package import AgentAPI
import Dispatch
import Fleet
import Foundation
import Glibc
import Hypervisor

/// A small migration stream without a guest, from one agent to another, to learn what the way between two hosts carries: by the network,
/// and by the processors and disks at both its ends, with everything that keeps them busy now.
package enum Rehearsal {
    /// What one connection may send at most.
    package static let bytesAtMost: Int64 = 256 << 20
    /// How long a target waits for its connection, and a stream for its other end.
    package static let patience = Duration.seconds(10)
    private static let page = 4096
    /// QEMU gathers so many pages into one write.
    private static let gathered = 32
    private static let chunk = 1 << 20

    static func preamble(_ id: String) -> String { "GODWIT rehearsal \(id)\n" }

    // MARK: the target

    /// The target's end: it listens from its making on.
    package struct Receiver: Sendable {
        package let place: RehearsalPlace
        private let id: String
        private let listener: StreamSocket
        private let file: String?

        /// - Parameter file: what is received is written there past the page cache, and removed at the end; into fresh memory when nil.
        package init(_ id: String, on address: String, into file: String?) throws {
            listener = try StreamSocket.listen(address, port: 0)
            place = RehearsalPlace(address: address, port: listener.port)
            self.id = id
            self.file = file
        }

        /// Takes one connection that names the rehearsal, and turns every other away.
        /// - Throws: `timed-out` when none has come and ended in time; ``AgentProblem`` when what came could not be taken.
        package func run() async throws {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    var isKnown = false
                    while !isKnown {
                        let connection = try await listener.accept()
                        // Whoever breaks off says no more than whoever names another.
                        isKnown = (try? await connection.receives(preamble(id), within: .seconds(2))) == true
                        if isKnown { try await offloaded { try receive(connection, into: file) } }
                    }
                }
                group.addTask {
                    try await Task.sleep(for: patience * 3)
                    throw AgentProblem(.failed, .timedOut, "no rehearsal ended within \(patience * 3)")
                }
                try await group.next()
                group.cancelAll()
            }
        }
    }

    /// Takes everything until the sender's end of stream and answers with one byte.
    private static func receive(_ connection: StreamSocket, into file: String?) throws {
        limit(connection)
        let sink = try file.map(FileSink.init(path:))
        defer { sink?.close() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: page)
        defer { buffer.deallocate() }
        // Fresh memory, as a target's is: the first touch of a page costs as much as the copy.
        let memory =
            sink == nil ? mmap(nil, Int(bytesAtMost), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : nil
        defer { if let memory, memory != MAP_FAILED { munmap(memory, Int(bytesAtMost)) } }
        var total = 0
        while total < Int(bytesAtMost) {
            // A disk takes whole chunks; QEMU reads a stream of memory by 32 KiB.
            let want = sink == nil ? 32 << 10 : chunk
            let count = recv(connection.descriptor, buffer.baseAddress, want, sink == nil ? 0 : Int32(MSG_WAITALL))
            guard count > 0 else { break }
            if let sink {
                try sink.write(buffer, count)
            } else if let memory, memory != MAP_FAILED, let base = buffer.baseAddress {
                memcpy(memory + total, base, min(count, Int(bytesAtMost) - total))
            }
            total += count
        }
        var answer: UInt8 = 1
        _ = Glibc.send(connection.descriptor, &answer, 1, Int32(MSG_NOSIGNAL))
    }

    // MARK: the source

    /// - Parameter file: whose data is sent; memory made for it when nil.
    package static func send(_ order: RehearseOrder, from file: String?) async throws -> RehearsalReport {
        let connection = try await StreamSocket.connect(order.place.address, port: order.place.port, deadline: .seconds(5))
        try await connection.send(preamble(order.id))
        let bytes = min(max(0, order.bytesAtMost), bytesAtMost)
        let end = ContinuousClock.now + .milliseconds(min(10_000, max(0, order.msAtMost)))
        return try await offloaded {
            limit(connection)
            let begun = ContinuousClock.now
            let sent = try file.map { try sendFile($0, connection, bytes, end) } ?? sendMemory(connection, bytes, end)
            shutdown(connection.descriptor, Int32(SHUT_WR))
            var answer: UInt8 = 0
            guard recv(connection.descriptor, &answer, 1, 0) == 1 else { throw broken() }
            return RehearsalReport(bytes: sent, microseconds: (ContinuousClock.now - begun).inMicroseconds)
        }
    }

    /// As QEMU sends memory: each page is looked at for zeroes, and its header and itself go into a vector that is written when it is full.
    private static func sendMemory(_ connection: StreamSocket, _ bytes: Int64, _ end: ContinuousClock.Instant) throws -> Int64 {
        let count = Int(bytes) / page
        guard count > 0 else { return 0 }
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count * page, alignment: page)
        defer { memory.deallocate() }
        guard let base = memory.baseAddress else { return 0 }
        // The last word alone is another than zero, so that the look goes through the whole page, as it does not in most of a guest's:
        // what is found too slow by it makes up for QEMU's own bookkeeping.
        memset(base, 0, count * page)
        for index in 0..<count { memory.storeBytes(of: UInt64(index) | 1, toByteOffset: (index + 1) * page - 8, as: UInt64.self) }
        let zero = [UInt8](repeating: 0, count: page)
        var vectors: [iovec] = []
        var header: UInt64 = 0
        var sent: Int64 = 0
        for index in 0..<count {
            guard memcmp(base + index * page, zero, page) != 0 else { continue }
            try withUnsafeMutablePointer(to: &header) { header in
                vectors.append(iovec(iov_base: header, iov_len: 8))
                vectors.append(iovec(iov_base: base + index * page, iov_len: page))
                guard vectors.count >= 2 * gathered || index == count - 1 else { return }
                try write(connection.descriptor, &vectors)
            }
            sent += Int64(page)
            if index % 256 == 0, ContinuousClock.now > end { break }
        }
        if !vectors.isEmpty { try write(connection.descriptor, &vectors) }
        return sent
    }

    private static func write(_ descriptor: Int32, _ vectors: inout [iovec]) throws {
        var first = 0
        while first < vectors.count {
            var count = vectors[first...].withUnsafeBufferPointer { writev(descriptor, $0.baseAddress, Int32($0.count)) }
            guard count > 0 else { throw broken() }
            while first < vectors.count, count >= vectors[first].iov_len {
                count -= vectors[first].iov_len
                first += 1
            }
            if count > 0 {
                vectors[first].iov_base = vectors[first].iov_base.map { $0 + count }
                vectors[first].iov_len -= count
            }
        }
        vectors.removeAll(keepingCapacity: true)
    }

    /// The file's data from its beginning, holes left out, past the page cache where its file system allows that.
    private static func sendFile(_ path: String, _ connection: StreamSocket, _ bytes: Int64, _ end: ContinuousClock.Instant) throws -> Int64
    {
        var descriptor = open(path, O_RDONLY | O_CLOEXEC | DiskImages.directIO)
        if descriptor < 0 { descriptor = open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else {
            throw AgentProblem(.failed, .diskError, "\(path) cannot be read: \(systemMessage(errno))")
        }
        defer { close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunk, alignment: page)
        defer { buffer.deallocate() }
        var sent: Int64 = 0
        var offset: off_t = 0
        while sent < bytes, ContinuousClock.now < end {
            let data = lseek(descriptor, offset, seekData)
            guard data >= 0 else { break }
            offset = data / off_t(page) * off_t(page)
            let count = pread(descriptor, buffer.baseAddress, chunk, offset)
            guard count > 0 else { break }
            var done = 0
            while done < count {
                let written = Glibc.send(connection.descriptor, buffer.baseAddress.map { $0 + done }, count - done, Int32(MSG_NOSIGNAL))
                guard written > 0 else { throw broken() }
                done += written
            }
            sent += Int64(count)
            offset += off_t(count)
            if count % page != 0 { break }
        }
        return sent
    }

    private static func broken() -> AgentProblem {
        AgentProblem(.failed, .connectionLost, "the rehearsal broke off: \(systemMessage(errno))")
    }

    /// Neither end waits longer than that for the other.
    private static func limit(_ connection: StreamSocket) {
        var time = timeval(tv_sec: Int(patience.components.seconds), tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(connection.descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
    }
}

/// SEEK_DATA of lseek(2), which Glibc's module leaves out.
private let seekData: Int32 = 3

/// A file that is written as QEMU writes a mirror's target, and gone when it is closed.
private final class FileSink {
    private let descriptor: Int32

    init(path: String) throws {
        var descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | DiskImages.directIO, 0o600)
        if descriptor < 0, errno == EINVAL { descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) }
        guard descriptor >= 0 else {
            throw AgentProblem(.failed, .diskError, "\(path) cannot be made: \(systemMessage(errno))")
        }
        // Without a name from now on, so that nothing is left of it whatever happens.
        unlink(path)
        self.descriptor = descriptor
    }

    func write(_ buffer: UnsafeMutableRawBufferPointer, _ count: Int) throws {
        // Direct I/O takes whole blocks; the last chunk may be none.
        let whole = (count + 4095) / 4096 * 4096
        guard Glibc.write(descriptor, buffer.baseAddress, whole) == whole else {
            throw AgentProblem(.failed, errno == ENOSPC ? .diskFull : .diskError, "the storage cannot be written: \(systemMessage(errno))")
        }
    }

    func close() { Glibc.close(descriptor) }
}

extension Duration {
    fileprivate var inMicroseconds: Int64 { components.seconds * 1_000_000 + components.attoseconds / 1_000_000_000_000 }
}
