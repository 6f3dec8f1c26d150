import Dispatch
import Glibc
import Synchronization

/// A way between two hosts that can be cut, mended and narrowed: what comes to its port goes to another one.
final class CuttableLink: Sendable {
    let port: Int
    private let listener: Int32
    private let destination: Int
    private struct State {
        var isCut = false
        var isOver = false
        var open: [Int32] = []
        var bytesPerSecond: Int?
    }
    /// What a narrow way takes at once, so that little of it waits between the two ends.
    private static let portion = 65536
    private let state = Mutex(State())

    /// - Parameter bytesPerSecond: how much goes to the destination; nil for all that comes.
    init(to destination: Int, bytesPerSecond: Int? = nil) throws {
        self.destination = destination
        state.withLock { $0.bytesPerSecond = bytesPerSecond }
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        // Accepted connections inherit it.
        var buffered = Int32(Self.portion)
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffered, socklen_t(MemoryLayout<Int32>.size))
        var address = Self.address(0)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                var length = size
                guard bind(listener, pointer, size) == 0, listen(listener, 8) == 0 else { return false }
                return getsockname(listener, pointer, &length) == 0
            }
        }
        guard bound else { throw TestFailure("no port for a link") }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detach { [self] in
            while true {
                let near = accept(listener, nil, nil)
                guard near >= 0, !state.withLock({ $0.isOver }) else { return }
                join(near)
            }
        }
    }

    private static func address(_ port: Int) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(truncatingIfNeeded: port).bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    private func join(_ near: Int32) {
        let far = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = Self.address(destination)
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(far, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
        }
        let isTaken = state.withLock { state in
            guard isConnected, !state.isCut else { return false }
            state.open += [near, far]
            return true
        }
        guard isTaken else {
            close(near)
            close(far)
            return
        }
        for (from, to) in [(near, far), (far, near)] {
            Thread.detach { [self] in
                var buffer = [UInt8](repeating: 0, count: Self.portion)
                while true {
                    let count = recv(from, &buffer, buffer.count, 0)
                    guard count > 0 else { break }
                    if from == near, let rate = state.withLock({ $0.bytesPerSecond }) {
                        usleep(UInt32(count * 1_000_000 / rate))  // The pace of the way itself; nobody waits for it.
                    }
                    var sent = 0
                    while sent < count {
                        let written = buffer[sent..<count].withUnsafeBytes { send(to, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                        guard written > 0 else { break }
                        sent += written
                    }
                    if sent < count { break }
                }
                shutdown(from, Int32(SHUT_RDWR))
                shutdown(to, Int32(SHUT_RDWR))
            }
        }
    }

    /// Breaks every connection, and lets no other come about.
    func cut() {
        state.withLock { state in
            state.isCut = true
            for descriptor in state.open { shutdown(descriptor, Int32(SHUT_RDWR)) }
        }
    }

    /// - Parameter bytesPerSecond: how much goes to the destination from now on; nil for all that comes.
    func narrow(to bytesPerSecond: Int?) { state.withLock { $0.bytesPerSecond = bytesPerSecond } }

    func mend() { state.withLock { $0.isCut = false } }

    func end() {
        cut()
        state.withLock { $0.isOver = true }
        shutdown(listener, Int32(SHUT_RDWR))
    }
}

/// A thread that may block.
private enum Thread {
    static func detach(_ body: @escaping @Sendable () -> Void) {
        DispatchQueue(label: "link").async(execute: body)
    }
}
