import Foundation
import Glibc
import Synchronization

/// A peer that breaks the rules, for what no real QEMU can be brought to do. Its script may block: it has a thread of its own.
final class FakeMonitor: Sendable {
    static let greeting =
        #"{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}"# + "\r\n"

    let connection: Int32
    private let unread = Mutex<[UInt8]>([])

    init(connection: Int32) {
        self.connection = connection
    }

    func write(_ text: String) {
        write(Array(text.utf8))
    }

    func write(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    /// The next line without its end; nil when the client has left.
    func readLine() -> String? {
        unread.withLock { unread in
            var searched = 0
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            while true {
                if let end = unread[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                    defer { unread.removeFirst(end + 1) }
                    return String(decoding: unread[..<end], as: UTF8.self)
                }
                searched = unread.count
                let count = recv(connection, &buffer, buffer.count, 0)
                guard count > 0 else { return nil }
                unread += buffer[..<count]
            }
        }
    }

    /// Blocks until the client has left.
    func awaitEnd() {
        while readLine() != nil {}
    }

    /// What an honest monitor does first.
    func negotiate() {
        write(Self.greeting)
        for _ in ["qmp_capabilities", "query-version"] { answer(#""return": {}"#) }
    }

    /// Answers the next request, whatever it is.
    func answer(_ body: String) {
        guard let request = readLine() else { return }
        write(#"{\#(body), "id": \#(id(of: request))}"# + "\r\n")
    }

    /// The id as JSON.
    func id(of request: String) -> String {
        request.firstMatch(of: /"id":("[^"]*")/).map { String($0.1) } ?? "null"
    }
}

/// Listens, has the script serve one client after the other, and ends with the body.
func withFakeMonitor(
    _ script: @escaping @Sendable (FakeMonitor) -> Void, _ body: (String) async throws -> Void
) async throws {
    try await withFolder { folder in
        let path = "\(folder)/fake"
        let listener = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
        }
        guard bound == 0, listen(listener, 4) == 0 else { throw CouldNotStart(problem: "no fake monitor: \(errno)") }

        let current = Mutex<Int32?>(nil)
        let (ended, finish) = AsyncStream.makeStream(of: Never.self)
        Thread.detachNewThread {
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                current.withLock { $0 = connection }
                script(FakeMonitor(connection: connection))
                current.withLock { $0 = nil }
                close(connection)
            }
            finish.finish()
        }
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(path))
        } catch {
            outcome = .failure(error)
        }
        // Both wake the thread, wherever it blocks.
        shutdown(listener, Int32(SHUT_RDWR))
        current.withLock { connection in
            if let connection { shutdown(connection, Int32(SHUT_RDWR)) }
        }
        await Task { for await _ in ended {} }.value
        try outcome.get()
    }
}
