import Dispatch
import Foundation
import Synchronization

/// Stands between a client and PostgreSQL's socket, and can cut a connection at the client's next `COMMIT`: before the server hears of it,
/// or after, so that its answer is lost.
final class Relay: Sendable {
    enum Cut: Sendable {
        case before
        case after
    }

    /// Where it listens, for libpq's `host`.
    let folder: String
    private let target: String
    private let listener: Int32
    private let cut = Mutex<Cut?>(nil)
    private let cuts = Mutex(0)

    init(folder: String, to target: String) throws {
        self.folder = folder
        self.target = target
        listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard Self.withAddress(folder, { bind(listener, $0, $1) }) == 0, listen(listener, 64) == 0 else {
            throw CocoaError(.fileWriteUnknown)
        }
        let thread = Thread { [self] in
            while case let client = accept(listener, nil, nil), client >= 0 { join(client) }
        }
        thread.start()
    }

    /// Cuts one connection, at the next commit.
    func cutNext(_ cut: Cut) { self.cut.withLock { $0 = cut } }

    /// How many it has cut.
    var count: Int { cuts.withLock { $0 } }

    func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
    }

    private func join(_ client: Int32) {
        let server = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        guard Self.withAddress(target, { connect(server, $0, $1) }) == 0 else {
            Glibc.close(server)
            Glibc.close(client)
            return
        }
        let ends = DispatchGroup()
        // The one that ends closes the other's way too; the sockets go when both have ended.
        func forward(from: Int32, to: Int32, isClient: Bool) {
            ends.enter()
            Thread { [self] in
                var buffer = [UInt8](repeating: 0, count: 65536)
                while case let count = recv(from, &buffer, buffer.count, 0), count > 0 {
                    if isClient, buffer[..<count].firstRange(of: Array("COMMIT\0".utf8)) != nil, let cut = take() {
                        if cut == .after {
                            shutdown(client, Int32(SHUT_RDWR))
                            _ = send(to, buffer, count, Int32(MSG_NOSIGNAL))
                            // The server answers into nothing, and sees the end of it.
                            shutdown(to, Int32(SHUT_WR))
                        }
                        break
                    }
                    guard send(to, buffer, count, Int32(MSG_NOSIGNAL)) == count else { break }
                }
                shutdown(from, Int32(SHUT_RD))
                shutdown(to, Int32(SHUT_WR))
                ends.leave()
            }.start()
        }
        forward(from: client, to: server, isClient: true)
        forward(from: server, to: client, isClient: false)
        ends.notify(queue: .global()) {
            Glibc.close(client)
            Glibc.close(server)
        }
    }

    private func take() -> Cut? {
        let taken = cut.withLock { cut in
            defer { cut = nil }
            return cut
        }
        if taken != nil { cuts.withLock { $0 += 1 } }
        return taken
    }

    private static func withAddress(_ folder: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let path = Array((folder + "/.s.PGSQL.5432").utf8)
        precondition(path.count < MemoryLayout.size(ofValue: address.sun_path))
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }
}
