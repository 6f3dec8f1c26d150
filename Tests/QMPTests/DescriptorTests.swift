import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `Passing descriptors` {
    @Test func `an NBD server serves on a listener of ours`() async throws {
        try await withClient { client, _ in
            let (listener, port) = try listenOnLoopback()
            try await client.sendDescriptor(listener, name: "listener")
            close(listener)
            try await client.nbdServerStart(["type": "fd", "data": ["str": "listener"]])
            #expect(try greeting(ofPort: port) == "NBDMAGICIHAVEOPT")
            let used = await #expect(throws: QMPError.self) { try await client.closeDescriptor("listener") }
            #expect(used?.reason == "File descriptor named 'listener' not found", "the server has taken it")
            try await client.nbdServerStop()
            #expect(throws: NotServed.self) { try greeting(ofPort: port) }
        }
    }

    @Test(arguments: [false, true]) func `many at once keep their names`(outOfBand: Bool) async throws {
        try await withQEMU { qemu in
            // With out-of-band execution QEMU reads ahead: two descriptors in a row would be mixed up were they not sent one by one.
            let client = outOfBand ? try await qemu.connectRescue() : try await qemu.connect()
            let ports = try await withThrowingTaskGroup(of: (Int, UInt16).self) { group in
                for number in 0..<12 {
                    group.addTask {
                        let (listener, port) = try listenOnLoopback()
                        defer { close(listener) }
                        try await client.sendDescriptor(listener, name: "fd\(number)")
                        return (number, port)
                    }
                    group.addTask {
                        _ = try await client.queryStatus()
                        return (-1, 0)
                    }
                }
                return try await group.reduce(into: [Int: UInt16]()) { $0[$1.0] = $1.1 }
            }
            for (number, port) in ports where number >= 0 {
                try await client.nbdServerStart(["type": "fd", "data": ["str": "fd\(number)"]])
                #expect(try greeting(ofPort: port).hasPrefix("NBDMAGIC"))
                try await client.nbdServerStop()
            }
        }
    }

    @Test func `a name outlives the client on its socket`() async throws {
        try await withQEMU { qemu in
            let first = try await qemu.connect()
            try await first.sendDescriptor(0, name: "kept")
            first.close()
            let second = try await qemu.connect()
            try await second.closeDescriptor("kept")
            let gone = await #expect(throws: QMPError.self) { try await second.closeDescriptor("kept") }
            #expect(gone?.code == .command)
        }
    }

    @Test func `what is not open is refused here, what QEMU does not like is refused there`() async throws {
        try await withClient { client, _ in
            let closed = await #expect(throws: QMPError.self) { try await client.sendDescriptor(-1, name: "nothing") }
            #expect(closed?.code == .invalidRequest)
            #expect(closed?.message == "descriptor -1 cannot be passed to QEMU: Bad file descriptor")
            let digit = await #expect(throws: QMPError.self) { try await client.sendDescriptor(0, name: "0x") }
            #expect(digit?.code == .command)
            try await client.sendDescriptor(0, name: "x")
            try await client.closeDescriptor("x")
        }
    }
}

/// A listener on a port that the kernel chose.
private func listenOnLoopback() throws -> (descriptor: Int32, port: UInt16) {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = loopback(port: 0)
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let named = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(listener, $0, length) == 0 && listen(listener, 4) == 0 && getsockname(listener, $0, &length) == 0
        }
    }
    try #require(named)
    return (listener, UInt16(bigEndian: address.sin_port))
}

private func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    return address
}

private struct NotServed: Error {}

/// The first 16 bytes that an NBD server at that port says.
///
/// The client then takes its leave and sees the server off: QEMU 7.2 hangs for good in nbd-server-stop while a client is in its handshake.
private func greeting(ofPort port: UInt16) throws -> String {
    let connection = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    defer { close(connection) }
    var patience = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    var address = loopback(port: port)
    let connected = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(connection, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard connected == 0 else { throw NotServed() }
    // Two magic words and the server's flags.
    var bytes = [UInt8](repeating: 0, count: 18)
    guard recv(connection, &bytes, bytes.count, Int32(MSG_WAITALL)) == bytes.count else { throw NotServed() }
    // The client's flags, then the option NBD_OPT_ABORT without data.
    let leave: [UInt8] = [0, 0, 0, 1] + Array("IHAVEOPT".utf8) + [0, 0, 0, 2, 0, 0, 0, 0]
    try #require(send(connection, leave, leave.count, Int32(MSG_NOSIGNAL)) == leave.count)
    var rest = [UInt8](repeating: 0, count: 64)
    while recv(connection, &rest, rest.count, 0) > 0 {}
    return String(decoding: bytes[..<16], as: UTF8.self)
}
