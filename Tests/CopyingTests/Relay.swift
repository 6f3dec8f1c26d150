import Foundation
import Glibc
import Hypervisor
import Synchronization

/// A TCP relay that counts what goes to the client, and can flip a byte of it or cut all connections.
final class Relay: Sendable {
    private struct State {
        var passed: Int64 = 0
        var flips: [Int64] = []
        var cutAt: Int64?
        var sockets: [Int32] = []
        var isClosed = false
    }

    private let listener: StreamSocket
    private let upstream: Int
    private let state: Mutex<State>
    var port: Int { listener.port }

    /// - Parameters:
    ///   - flips: after so many bytes to the clients the next long run of data has a byte flipped.
    ///   - cutAt: after so many bytes all connections are cut, once.
    init(to port: Int, flips: [Int64] = [], cutAt: Int64? = nil) throws {
        listener = try StreamSocket.listen("127.0.0.1", port: 0)
        upstream = port
        state = Mutex(State(flips: flips, cutAt: cutAt))
        let descriptor = listener.descriptor
        Thread.detachNewThread { [weak self] in
            while true {
                let client = accept(descriptor, nil, nil)
                guard client >= 0, let self else { return }
                self.serve(client)
            }
        }
    }

    var passed: Int64 { state.withLock { $0.passed } }

    func close() {
        state.withLock { $0.isClosed = true }
        cut()
        shutdown(listener.descriptor, Int32(SHUT_RDWR))
    }

    private func cut() {
        let sockets = state.withLock { $0.sockets }
        for socket in sockets { shutdown(socket, Int32(SHUT_RDWR)) }
    }

    private func serve(_ client: Int32) {
        let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(upstream).bigEndian
        inet_pton(AF_INET, "127.0.0.1", &address.sin_addr)
        let size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(server, $0, size) }
        }
        guard connected == 0 else {
            Glibc.close(client)
            Glibc.close(server)
            return
        }
        state.withLock { $0.sockets += [client, server] }
        Thread.detachNewThread { self.pump(client, server, isData: false) }
        Thread.detachNewThread { self.pump(server, client, isData: true) }
    }

    private func pump(_ from: Int32, _ to: Int32, isData: Bool) {
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            let count = recv(from, &buffer, buffer.count, 0)
            guard count > 0 else { break }
            if isData {
                let (flip, cut) = state.withLock { state -> (Bool, Bool) in
                    state.passed += Int64(count)
                    var flip = false
                    // The head of a run may be a header; its end is data.
                    if let next = state.flips.first, state.passed >= next, count > 100_000 {
                        state.flips.removeFirst()
                        flip = true
                    }
                    var cut = false
                    if let at = state.cutAt, state.passed >= at {
                        state.cutAt = nil
                        cut = true
                    }
                    return (flip, cut)
                }
                if flip { buffer[count - 1000] ^= 0x10 }
                if cut { self.cut() }
            }
            var done = 0
            while done < count {
                let sent = buffer.withUnsafeBytes { send(to, $0.baseAddress.map { $0 + done }, count - done, Int32(MSG_NOSIGNAL)) }
                guard sent > 0 else { break }
                done += sent
            }
            if done < count { break }
        }
        shutdown(from, Int32(SHUT_RDWR))
        shutdown(to, Int32(SHUT_RDWR))
    }
}
