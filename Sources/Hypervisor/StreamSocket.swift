package import AgentAPI
import Dispatch
import Fleet
import Foundation
import Glibc

/// A TCP socket that the agent makes for QEMU. QEMU's own notice a cut only after 15 minutes and delay every small answer by 40 ms; the
/// options that prevent it are inherited by what a listener accepts and stay with a descriptor that is passed on.
package final class StreamSocket: Sendable {
    package let descriptor: Int32

    private init(_ descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    /// How long data may stay unacknowledged before the kernel gives the connection up.
    package static let bulkTimeout = Duration.seconds(15)
    /// The same while the guest stands still.
    package static let switchTimeout = Duration.seconds(5)

    private static func make(_ family: Int32) throws -> StreamSocket {
        let descriptor = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw failure("a socket cannot be made") }
        let socket = StreamSocket(descriptor)
        socket.set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        socket.set(SOL_SOCKET, SO_KEEPALIVE, 1)
        socket.set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 2)
        socket.set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 1)
        socket.set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
        socket.setTimeout(bulkTimeout)
        return socket
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Takes effect for whoever holds a copy of the descriptor, QEMU included.
    package func setTimeout(_ timeout: Duration) {
        set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, Int32(timeout.inMilliseconds))
    }

    /// Holds the connection for as long as the kernel will, whatever does not come through meanwhile: about 15 minutes. For moments in which QEMU
    /// cannot do without it.
    package func hold() {
        setTimeout(.zero)
        set(SOL_SOCKET, SO_KEEPALIVE, 0)
    }

    /// Notices a dead peer again within the timeout.
    package func release(timeout: Duration = StreamSocket.bulkTimeout) {
        setTimeout(timeout)
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
    }

    private static func failure(_ what: String) -> AgentProblem {
        AgentProblem(.failed, .connectionLost, "\(what): \(systemMessage(errno))")
    }

    /// - Parameter port: 0 takes one from the kernel.
    package static func listen(_ address: String, port: Int) throws -> StreamSocket {
        let target = try SocketAddress(address, port: port)
        let socket = try make(target.family)
        socket.set(SOL_SOCKET, SO_REUSEADDR, 1)
        guard target.withPointer({ bind(socket.descriptor, $0, $1) }) == 0, Glibc.listen(socket.descriptor, 16) == 0 else {
            throw failure("\(address) port \(port) cannot be listened on")
        }
        return socket
    }

    package var port: Int {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        guard result == 0 else { return 0 }
        // Port and family stand at the same place for both kinds of address.
        return withUnsafeBytes(of: storage) { Int(UInt16(bigEndian: $0.load(fromByteOffset: 2, as: UInt16.self))) }
    }

    package static func connect(_ address: String, port: Int, deadline: Duration) async throws -> StreamSocket {
        let target = try SocketAddress(address, port: port)
        let socket = try make(target.family)
        return try await offloaded {
            socket.limitBlocking(SO_SNDTIMEO, to: deadline)
            guard target.withPointer({ Glibc.connect(socket.descriptor, $0, $1) }) == 0 else {
                // So ends a connect whose time is over.
                guard errno != EINPROGRESS else {
                    throw AgentProblem(
                        .failed, .connectionLost, "\(address) port \(port) took no connection within \(deadline.components.seconds) s")
                }
                throw failure("\(address) port \(port) cannot be reached")
            }
            socket.limitBlocking(SO_SNDTIMEO, to: .zero)
            return socket
        }
    }

    /// Zero is without limit.
    private func limitBlocking(_ option: Int32, to limit: Duration) {
        let milliseconds = Int(limit.inMilliseconds)
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    /// The next connection. Waits without holding a thread; ends when the task is cancelled.
    package func accept() async throws -> StreamSocket {
        // Nobody may be there any more who was there a moment ago.
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        while true {
            try await readable()
            let accepted = Glibc.accept(descriptor, nil, nil)
            if accepted >= 0 {
                _ = fcntl(accepted, F_SETFD, FD_CLOEXEC)
                return StreamSocket(accepted)
            }
            guard [EAGAIN, EINTR, ECONNABORTED].contains(errno) else { throw Self.failure("a connection cannot be accepted") }
        }
    }

    private func readable() async throws {
        let source = DispatchSource.makeReadSource(fileDescriptor: descriptor, queue: .global())
        let bell = Bell()
        source.setEventHandler { bell.ring() }
        // The descriptor must stay open until Dispatch has let go of it.
        source.setCancelHandler { withExtendedLifetime(self) {} }
        source.activate()
        defer { source.cancel() }
        await bell.wait(after: 0, until: .now.advanced(by: .seconds(86_400)))
        try Task.checkCancellation()
    }

    /// Whether the peer has written something, or hung up (false), within that time. Nothing of it is read.
    package func hasWord(within limit: Duration) async throws -> Bool {
        try await offloaded { [self] in
            limitBlocking(SO_RCVTIMEO, to: limit)
            defer { limitBlocking(SO_RCVTIMEO, to: .zero) }
            var byte: UInt8 = 0
            return recv(descriptor, &byte, 1, Int32(MSG_PEEK)) == 1
        }
    }

    /// The line by which a source joins a broken stream of an attempt anew.
    package static func rejoining(_ key: AttemptKey) -> String { "GODWIT-AGAIN \(key.migration) \(key.attempt)\n" }

    /// The target's answer to that: its QEMU has the connection.
    package static let joined = "GODWIT-JOINED\n"

    /// The line by which a source names its attempt before QEMU's stream begins, so that no stray connection becomes a guest's memory.
    package static func preamble(_ key: AttemptKey) -> String { "GODWIT \(key.migration) \(key.attempt)\n" }

    package func send(_ text: String) async throws {
        try await offloaded { [self] in
            var bytes = ArraySlice(text.utf8)
            while !bytes.isEmpty {
                let count =
                    bytes.withContiguousStorageIfAvailable { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) } ?? -1
                guard count > 0 else { throw Self.failure("the memory stream cannot be begun") }
                bytes = bytes.dropFirst(count)
            }
        }
    }

    /// The peer's first line with its end, of 200 bytes at most; not one byte beyond it is read. Nil when it does not come in time.
    package func line(within deadline: Duration) async throws -> String? {
        try await offloaded { [self] in
            limitBlocking(SO_RCVTIMEO, to: deadline)
            defer { limitBlocking(SO_RCVTIMEO, to: .zero) }
            var bytes: [UInt8] = []
            var byte: UInt8 = 0
            while bytes.count < 200, recv(descriptor, &byte, 1, 0) == 1 {
                bytes.append(byte)
                if byte == UInt8(ascii: "\n") { return String(decoding: bytes, as: UTF8.self) }
            }
            return nil
        }
    }

    /// Whether the peer's first bytes are exactly that text; not one byte beyond it is read.
    package func receives(_ text: String, within deadline: Duration) async throws -> Bool {
        try await offloaded { [self] in
            limitBlocking(SO_RCVTIMEO, to: deadline)
            defer { limitBlocking(SO_RCVTIMEO, to: .zero) }
            var buffer = [UInt8](repeating: 0, count: text.utf8.count)
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_WAITALL))
            return count == buffer.count && buffer.elementsEqual(text.utf8)
        }
    }
}

/// An IP address with a port, as the kernel wants it.
private struct SocketAddress: Sendable {
    private let bytes: [UInt8]
    let family: Int32

    init(_ address: String, port: Int) throws {
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, address, &v4) == 1 {
            var socket = sockaddr_in()
            socket.sin_family = sa_family_t(AF_INET)
            socket.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
            socket.sin_addr = v4
            bytes = withUnsafeBytes(of: socket) { Array($0) }
            family = AF_INET
        } else if inet_pton(AF_INET6, address, &v6) == 1 {
            var socket = sockaddr_in6()
            socket.sin6_family = sa_family_t(AF_INET6)
            socket.sin6_port = in_port_t(truncatingIfNeeded: port).bigEndian
            socket.sin6_addr = v6
            bytes = withUnsafeBytes(of: socket) { Array($0) }
            family = AF_INET6
        } else {
            throw AgentProblem(.invalid, .invalidRequest, "\(address) is no IP address")
        }
    }

    func withPointer<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafeTemporaryAllocation(byteCount: bytes.count, alignment: MemoryLayout<sockaddr_storage>.alignment) { buffer in
            buffer.copyBytes(from: bytes)
            guard let base = buffer.baseAddress else { preconditionFailure("an address has bytes") }
            return body(UnsafePointer(base.assumingMemoryBound(to: sockaddr.self)), socklen_t(bytes.count))
        }
    }
}
