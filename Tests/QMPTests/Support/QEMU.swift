import Glibc
import QMP
import Subprocess

/// A real QEMU with two monitors.
struct QEMU: Sendable {
    let pid: pid_t
    let folder: String

    var socket: String { "\(folder)/qmp" }
    var rescueSocket: String { "\(folder)/rescue" }

    func connect(deadline: Duration = .seconds(10)) async throws -> QMPClient {
        try await QMPClient.connect(path: socket, deadline: deadline)
    }

    func connectRescue(deadline: Duration = .seconds(10)) async throws -> QMPClient {
        try await QMPClient.connect(path: rescueSocket, enableOOB: true, deadline: deadline)
    }

    func signal(_ signal: Int32) {
        _ = kill(pid, signal)
    }

    /// A process that init has not yet collected counts as ended.
    var isRunning: Bool {
        guard kill(pid, 0) == 0, let stat = contents(of: "/proc/\(pid)/stat") else { return false }
        return !stat.drop { $0 != ")" }.hasPrefix(") Z")
    }
}

/// No guest at all: what most of a monitor needs.
let noMachine = ["-machine", "none"]
/// A PC that stands at its firmware. An odd RAM size: QEMU 7.2 loses dirty pages under TCG when a RAM block is a multiple of 256 KiB.
let smallPC = ["-machine", "pc", "-accel", "tcg", "-m", "16392k", "-S"]

struct CouldNotStart: Error {
    let problem: String
}

/// Starts a QEMU, ends it by its pid and removes its folder, whatever the body does.
func withQEMU(_ arguments: [String] = noMachine, _ body: (QEMU) async throws -> Void) async throws {
    try await withFolder { folder in
        let pidFile = "\(folder)/pid"
        let monitors = ["qmp", "rescue"].flatMap { ["-qmp", "unix:\(folder)/\($0),server=on,wait=off"] }
        let result = try await run(
            .name("qemu-system-x86_64"),
            arguments: Arguments(arguments + ["-nodefaults", "-display", "none", "-daemonize", "-pidfile", pidFile] + monitors),
            output: .discarded, error: .string(limit: 65536))
        guard let pid = contents(of: pidFile).flatMap({ pid_t($0.filter(\.isNumber)) }) else {
            throw CouldNotStart(problem: result.standardError)
        }
        let qemu = QEMU(pid: pid, folder: folder)
        let outcome: Result<Void, any Error>
        do {
            outcome = .success(try await body(qemu))
        } catch {
            outcome = .failure(error)
        }
        qemu.signal(SIGKILL)
        // Not cancelled with the test: the process must be gone before its folder.
        try await Task { try await eventually("the end of QEMU \(pid)") { !qemu.isRunning } }.value
        try outcome.get()
    }
}

func withClient(_ arguments: [String] = noMachine, _ body: (QMPClient, QEMU) async throws -> Void) async throws {
    try await withQEMU(arguments) { qemu in
        let client = try await qemu.connect()
        defer { client.close() }
        try await body(client, qemu)
    }
}

/// A folder with a name short enough for sockets.
func withFolder(_ body: (String) async throws -> Void) async throws {
    var template = Array("/tmp/gwq.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CouldNotStart(problem: "mkdtemp failed with \(errno)") }
    let folder = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { removeFolder(folder) }
    try await body(folder)
}

private func removeFolder(_ folder: String) {
    guard let directory = opendir(folder) else { return }
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        _ = unlink("\(folder)/\(name)")
    }
    closedir(directory)
    rmdir(folder)
}

private func contents(of path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = read(file, &buffer, buffer.count)
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : nil
}

/// The next event of that name; those before it are passed over.
func next(_ name: String, of events: AsyncStream<QMPEvent>, within limit: Duration = .seconds(10)) async throws -> QMPEvent {
    try await within(limit, "the event \(name)") {
        for await event in events where event.name == name { return event }
        throw TookTooLong(what: "the event \(name) before the connection's end")
    }
}
