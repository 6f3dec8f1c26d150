import Glibc

/// A connected stream socket that never blocks.
struct UnixSocket: Sendable {
    enum Sent {
        /// That many bytes, and with the first of them the descriptor.
        case bytes(Int)
        /// The peer reads too slowly: try again when the socket is writable.
        case full
        case broken(Int32)
    }

    enum Received {
        case bytes(Int)
        /// Nothing now.
        case empty
        /// The peer closed.
        case end
        case broken(Int32)
    }

    let descriptor: Descriptor

    /// - Throws: `.couldNotConnect` when nobody listens there, `.deadline` when the listener's queue stays full (QEMU lets two clients wait), `CancellationError`.
    static func connect(path: String, until end: ContinuousClock.Instant) async throws -> UnixSocket {
        let descriptor = try open(path: path)
        var pause = Duration.milliseconds(1)
        while true {
            let problem = connectOnce(descriptor, path: path)
            switch problem {
            case 0: return UnixSocket(descriptor: descriptor)
            case EINTR: continue
            case EAGAIN:
                // A full queue is no readiness that poll() could tell of: unix(7) wants the call to be made again.
                guard ContinuousClock.now < end else {
                    throw QMPError(
                        .deadline,
                        "QEMU's monitor at \(path) did not take the connection: other clients are attached and waiting. Close them, or use another -qmp socket"
                    )
                }
                try await Task.sleep(for: pause)
                pause = min(pause * 2, .milliseconds(50))
            default:
                throw QMPError(
                    .couldNotConnect, "no QEMU monitor can be reached at \(path): \(systemMessage(problem)). Is that QEMU running?")
            }
        }
    }

    private static func open(path: String) throws(QMPError) -> Descriptor {
        let longest = MemoryLayout.size(ofValue: sockaddr_un().sun_path) - 1
        guard path.utf8.count <= longest, !path.isEmpty, !path.utf8.contains(0) else {
            throw QMPError(
                .couldNotConnect, "\(path) cannot be the path of a unix socket, which has 1 to \(longest) bytes. Use a shorter folder")
        }
        let number = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        guard number >= 0 else {
            throw QMPError(.couldNotConnect, "no socket could be made for \(path): \(systemMessage(errno))")
        }
        return Descriptor(owning: number)
    }

    /// 0 or an error number.
    private static func connectOnce(_ descriptor: Descriptor, path: String) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(descriptor.number, $0, length) }
        }
        return result == 0 ? 0 : errno
    }

    /// The process that listens at the other end, as the kernel noted it when it began to (`SO_PEERCRED`).
    var peerPID: pid_t {
        // `struct ucred`, which Glibc's module leaves out: process, user, group.
        var credentials: (pid_t, uid_t, gid_t) = (0, 0, 0)
        var length = socklen_t(MemoryLayout.size(ofValue: credentials))
        let result = getsockopt(descriptor.number, SOL_SOCKET, SO_PEERCRED, &credentials, &length)
        return result == 0 ? credentials.0 : 0
    }

    /// - Parameter passed: goes as ancillary data (`SCM_RIGHTS`) with the first byte.
    func send(_ bytes: ArraySlice<UInt8>, passing passed: Descriptor?) -> Sent {
        while true {
            let count = bytes.withUnsafeBytes { buffer in
                if let passed {
                    sendMessage(buffer, passing: passed)
                } else {
                    Glibc.send(descriptor.number, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
                }
            }
            if count >= 0 { return .bytes(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .full
            case let problem: return .broken(problem)
            }
        }
    }

    private func sendMessage(_ bytes: UnsafeRawBufferPointer, passing passed: Descriptor) -> Int {
        // CMSG_LEN and CMSG_SPACE are macros that Swift does not see: a header, then the descriptor, each aligned to the size of a word.
        let header = MemoryLayout<cmsghdr>.stride
        let space = header + MemoryLayout<Int>.stride
        return withUnsafeTemporaryAllocation(byteCount: space, alignment: MemoryLayout<cmsghdr>.alignment) { control in
            control.initializeMemory(as: UInt8.self, repeating: 0)
            var ancillary = cmsghdr()
            ancillary.cmsg_len = header + MemoryLayout<Int32>.size
            ancillary.cmsg_level = SOL_SOCKET
            ancillary.cmsg_type = Int32(SCM_RIGHTS)
            control.storeBytes(of: ancillary, as: cmsghdr.self)
            control.storeBytes(of: passed.number, toByteOffset: header, as: Int32.self)
            var vector = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
            return withUnsafeMutablePointer(to: &vector) { vector in
                var message = msghdr()
                message.msg_iov = vector
                message.msg_iovlen = 1
                message.msg_control = control.baseAddress
                message.msg_controllen = space
                return sendmsg(descriptor.number, &message, Int32(MSG_NOSIGNAL))
            }
        }
    }

    func receive(into buffer: UnsafeMutableRawBufferPointer) -> Received {
        while true {
            let count = recv(descriptor.number, buffer.baseAddress, buffer.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .empty
            case let problem: return .broken(problem)
            }
        }
    }

    /// Tells the peer that it is over, at once, whoever still owns the descriptor.
    func shutDown() {
        _ = shutdown(descriptor.number, Int32(SHUT_RDWR))
    }
}
