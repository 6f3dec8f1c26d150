import AgentAPI
import CLibNBD
import Fleet
import Glibc
import Hypervisor
import Synchronization

/// Where a file is lent: an NBD server, and what it takes to trust it.
package struct NBDServer: Hashable, Sendable {
    package var address: String
    package var port: Int
    /// The folder of the certificates (`ca-cert.pem`, `client-cert.pem`, `client-key.pem`) when the stream is encrypted and both ends proven.
    package var certificates: String?

    package init(address: String, port: Int, certificates: String? = nil) {
        self.address = address
        self.port = port
        self.certificates = certificates
    }
}

/// One connection to an export, for blocking calls.
///
/// `@unchecked Sendable`: the handle is used on one ``Lane`` only, one call after the other; ``abort()`` touches nothing of it but a copy of the
/// socket, under a lock.
final class NBDConnection: @unchecked Sendable {
    private let handle: OpaquePointer
    private let what: String
    private let address: String
    /// A copy of the socket's descriptor, so that a call that waits for the peer can be ended from outside.
    private let socket = Mutex<Int32?>(nil)

    /// How long data may stay unacknowledged, and the peer silent while nothing is asked, before the kernel gives the connection up.
    private static let timeout = Duration.seconds(10)

    /// Connects; blocks.
    /// - Throws: ``AgentProblem``: `connection-lost`, `tls-refused`.
    init(_ server: NBDServer, export: String, isCancelled: @escaping @Sendable () -> Bool) throws {
        guard let handle = nbd_create() else {
            throw AgentProblem(.failed, .agentError, "libnbd has no memory left")
        }
        self.handle = handle
        what = "\(export) at \(server.address) port \(server.port)"
        address = server.address
        // Whatever is thrown from here on, the handle is closed by `deinit`.
        try check(nbd_set_export_name(handle, export))
        try check(nbd_add_meta_context(handle, LIBNBD_CONTEXT_BASE_ALLOCATION))
        // The buffer is written over; what a failed read leaves in it nobody looks at.
        try check(nbd_set_pread_initialize(handle, false))
        // QEMU takes requests that begin or end within its blocks.
        try check(nbd_set_strict_mode(handle, 0))
        if let certificates = server.certificates {
            try check(nbd_set_tls(handle, LIBNBD_TLS_REQUIRE))
            try check(nbd_set_tls_certificates(handle, certificates))
            try check(nbd_set_tls_verify_peer(handle, true))
        }
        try check(nbd_aio_connect_tcp(handle, server.address, "\(server.port)"))
        let deadline = ContinuousClock.now.advanced(by: .seconds(10))
        while nbd_aio_is_ready(handle) != 1 {
            guard !isCancelled() else { throw CancellationError() }
            guard ContinuousClock.now < deadline else {
                throw AgentProblem(.failed, .connectionLost, "no connection to \(what) within 10 s")
            }
            try check(nbd_poll(handle, 100))
        }
        let descriptor = nbd_aio_get_fd(handle)
        func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 2)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 2)
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 4)
        set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(Self.timeout.inMilliseconds))
        socket.withLock { $0 = fcntl(descriptor, F_DUPFD_CLOEXEC, 0) }
    }

    deinit {
        socket.withLock { if let copy = $0, copy >= 0 { Glibc.close(copy) } }
        nbd_close(handle)
    }

    /// Ends what waits for the peer, at once, from whichever thread.
    func abort() {
        socket.withLock { if let copy = $0, copy >= 0 { _ = shutdown(copy, Int32(SHUT_RDWR)) } }
    }

    private func check(_ result: Int32) throws {
        guard result >= 0 else { throw failure() }
    }

    /// What libnbd says of the last call on this thread.
    private func failure() -> AgentProblem {
        let told = nbd_get_error().map { String(cString: $0) } ?? "libnbd gives no reason"
        let number = nbd_get_errno()
        if told.contains("gnutls") || told.contains("TLS") {
            return AgentProblem(
                .failed, .tlsRefused,
                "\(what) is not trusted, or does not trust this host (\(told)): \(StreamCredentials.remedy(address))")
        }
        // Of a server that answers, its file cannot be read; of one that does not, the connection is gone.
        let isAnswer = nbd_aio_is_ready(handle) == 1 && (number == EIO || number == EINVAL || number == EPERM || number == ENOSPC)
        return AgentProblem(.failed, isAnswer ? .diskError : .connectionLost, "\(what): \(told)")
    }

    /// Bytes of the export: the file's, rounded up to whole sectors.
    func size() throws -> Int64 {
        let size = nbd_get_size(handle)
        guard size >= 0 else { throw failure() }
        return size
    }

    /// Reads so many bytes from there into the buffer's begin.
    func read(into buffer: UnsafeMutableRawBufferPointer, offset: Int64, count: Int) throws {
        precondition(count <= buffer.count)
        try check(nbd_pread(handle, buffer.baseAddress, count, UInt64(offset), 0))
    }

    /// Where the file has data, in order, as whole blocks of `block` bytes; what lies between reads as zeroes. Runs that less than `gap` bytes
    /// keep apart are one.
    func data(size: Int64, block: Int64, gap: Int64, isCancelled: () -> Bool) throws -> [Range<Int64>] {
        let found = Extents()
        var offset: Int64 = 0
        while offset < size {
            guard !isCancelled() else { throw CancellationError() }
            found.entries.removeAll(keepingCapacity: true)
            let callback = nbd_extent_callback(
                callback: { user, _, _, entries, count, _ in
                    guard let user, let entries else { return -1 }
                    let found = Unmanaged<Extents>.fromOpaque(user).takeUnretainedValue()
                    var index = 0
                    while index + 1 < count {
                        found.entries.append((Int64(entries[index]), entries[index + 1]))
                        index += 2
                    }
                    return 0
                }, user_data: Unmanaged.passUnretained(found).toOpaque(), free: nil)
            // A request has 32 bits; whole blocks of them.
            try check(nbd_block_status(handle, UInt64(min(size - offset, 1 << 31)), UInt64(offset), callback, 0))
            let before = offset
            for (length, flags) in found.entries where offset < size {
                let end = min(size, offset + length)
                if flags & UInt32(LIBNBD_STATE_ZERO) == 0 {
                    let first = offset / block * block
                    let last = (end + block - 1) / block * block
                    if let previous = found.data.last, first - previous.upperBound <= gap {
                        found.data[found.data.count - 1] = previous.lowerBound..<max(previous.upperBound, last)
                    } else {
                        found.data.append(first..<last)
                    }
                }
                offset = end
            }
            guard offset > before else { throw AgentProblem(.failed, .diskError, "\(what) does not say where it has data") }
        }
        return found.data
    }

    /// What a callback of libnbd's fills while the call that it belongs to waits.
    private final class Extents {
        var entries: [(Int64, UInt32)] = []
        var data: [Range<Int64>] = []
    }
}
