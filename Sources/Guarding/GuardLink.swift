import AgentAPI
package import Fleet
import Foundation
import Glibc
import Hypervisor

/// The unix socket between agent and guard: one line each way, and the connection ends.
package enum GuardLink {
    /// What is asked: nothing but how the guard stands, when there is no order.
    struct Question: Codable {
        var order: GuardOrder?
    }

    /// Asks the guard. Blocks for at most two seconds.
    /// - Returns: nil when there is none: nobody listens there.
    /// - Throws: ``AgentProblem`` when there is one that does not answer, or when it could not be asked.
    package static func ask(_ path: String, _ order: GuardOrder?) throws -> GuardReport? {
        try ask(path, try JSONEncoder().encode(Question(order: order)))
    }

    static func ask(_ path: String, _ question: Data) throws -> GuardReport? {
        let descriptor = try makeSocket()
        defer { close(descriptor) }
        setDeadline(descriptor, milliseconds: 1000)
        guard withAddress(path, { connect(descriptor, $0, $1) }) == 0 else {
            let problem = errno
            if problem == ENOENT || problem == ECONNREFUSED { return nil }
            throw AgentProblem(.failed, .agentError, "the guard cannot be asked at \(path): \(systemMessage(problem))")
        }
        guard send(descriptor, question), let answer = receive(descriptor) else {
            throw AgentProblem(.failed, .agentError, "the guard listens at \(path) and does not answer")
        }
        do {
            return try JSONDecoder().decode(GuardReport.self, from: answer)
        } catch {
            throw AgentProblem(.failed, .agentError, "the guard's answer is not understood, which may be of another version: \(error)")
        }
    }

    /// The guard's end.
    final class Listener {
        private let descriptor: Int32
        private let path: String

        init(_ path: String) throws {
            self.path = path
            descriptor = try makeSocket()
            unlink(path)
            guard withAddress(path, { bind(descriptor, $0, $1) }) == 0, listen(descriptor, 16) == 0 else {
                let problem = errno
                close(descriptor)
                throw AgentProblem(.failed, .agentError, "\(path) cannot be listened on: \(systemMessage(problem))")
            }
            chmod(path, 0o600)
        }

        deinit {
            unlink(path)
            close(descriptor)
        }

        /// Waits so long for one who asks, and answers.
        /// - Parameters:
        ///   - answer: to a question.
        ///   - refuse: to what is none: told why, it answers how the guard stands.
        func serve(withinMS: Int64, _ answer: (GuardOrder?) -> GuardReport, refuse: (String) -> GuardReport) {
            var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&wait, 1, Int32(max(0, withinMS))) == 1 else { return }
            let peer = accept(descriptor, nil, nil)
            guard peer >= 0 else { return }
            defer { close(peer) }
            // Who says nothing holds up nothing.
            setDeadline(peer, milliseconds: 200)
            let report: GuardReport
            if let bytes = receive(peer) {
                do {
                    report = answer(try JSONDecoder().decode(Question.self, from: bytes).order)
                } catch {
                    report = refuse("the question is not understood, which an agent of another version may have asked: \(error)")
                }
            } else {
                report = refuse("no whole question came within 200 ms")
            }
            // An answer that does not arrive is one that nobody counts on: whoever asked asks again.
            if let reply = try? JSONEncoder().encode(report) { _ = send(peer, reply) }
        }
    }

    private static func makeSocket() throws -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw AgentProblem(.failed, .agentError, "no socket can be had: \(systemMessage(errno))") }
        return descriptor
    }

    private static func setDeadline(_ descriptor: Int32, milliseconds: Int) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
    }

    private static func withAddress(_ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            errno = ENAMETOOLONG
            return -1
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
    }

    private static func send(_ descriptor: Int32, _ line: Data) -> Bool {
        let bytes = Array(line) + [UInt8(ascii: "\n")]
        return Glibc.send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    /// One line; nil when none came in time.
    private static func receive(_ descriptor: Int32) -> Data? {
        var line = Data()
        var buffer = [UInt8](repeating: 0, count: 4096)
        while line.count < 64 << 10 {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            line.append(contentsOf: buffer[..<count])
            if line.last == UInt8(ascii: "\n") { return line.dropLast() }
        }
        return nil
    }
}
