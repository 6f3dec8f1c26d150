import AgentAPI
import Dispatch
import Fleet
import Foundation
import Glibc

/// Carries a stream between a peer's connection and a unix socket on which QEMU listens: for a QEMU that cannot be given the connection
/// itself, since its main loop hangs.
package final class StreamRelay: Sendable {
    private let peer: StreamSocket
    /// The connection to QEMU.
    private let descriptor: Int32

    /// Connects to QEMU, which takes its listener away with the first connection.
    /// - Throws: ``AgentProblem`` `connectionLost` when nobody listens there.
    package init(_ peer: StreamSocket, path: String) throws {
        self.peer = peer
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity else { throw AgentProblem(.invalid, .invalidRequest, "\(path) is too long for a socket") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        let isConnected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isConnected else {
            let problem = AgentProblem(.failed, .connectionLost, "QEMU does not take a stream at \(path): \(systemMessage(errno))")
            close(descriptor)
            throw problem
        }
    }

    deinit {
        close(descriptor)
    }

    /// Carries both ways until either end is closed or breaks, or the task is cancelled; then both are.
    package func run() async {
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.carry(from: self.peer.descriptor, to: self.descriptor) }
                group.addTask { await self.carry(from: self.descriptor, to: self.peer.descriptor) }
            }
        } onCancel: {
            tear()
        }
    }

    private func tear() {
        for end in [peer.descriptor, descriptor] { shutdown(end, Int32(SHUT_RDWR)) }
    }

    /// On a thread of its own, for as long as the stream lives.
    private func carry(from: Int32, to: Int32) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            Thread {
                withUnsafeTemporaryAllocation(byteCount: 256 << 10, alignment: 16) { buffer in
                    while true {
                        let count = recv(from, buffer.baseAddress, buffer.count, 0)
                        if count < 0, errno == EINTR { continue }
                        guard count > 0, Self.sendAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to: to) else { break }
                    }
                }
                self.tear()
                continuation.resume()
            }.start()
        }
    }

    private static func sendAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let count = send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
        return true
    }
}
