package import AgentAPI
import Fleet
import Foundation
import Glibc

/// A `qemu-storage-daemon` that lends files for reading, byte for byte as they lie on the disk: a qcow2 file with its snapshots and bitmaps and
/// not the disk in it. It outlives the agent, though not for ever, and while it runs QEMU's image locking keeps every writer away.
package final class StorageDaemon: Sendable {
    /// A file under the name by which it is lent.
    package struct Export: Hashable, Sendable {
        package var name: String
        package var path: String

        package init(name: String, path: String) {
            self.name = name
            self.path = path
        }
    }

    private let process: KernelProcess
    private let pidPath: String

    private init(_ process: KernelProcess, pidPath: String) {
        self.process = process
        self.pidPath = pidPath
    }

    package var pid: Int32 { process.pid }

    package var isAlive: Bool { process.isAlive }

    /// So long it lends without an agent that looks after it: a copy goes on while one is started anew, and a host whose agent never comes
    /// back is not left with a daemon that nobody ends.
    package static let orphanLimit = Duration.seconds(600)

    /// The one that an earlier agent started; nil when it is gone.
    /// - Throws: ``AgentProblem`` when that cannot be seen.
    package static func find(pidPath: String) throws(AgentProblem) -> StorageDaemon? {
        try KernelProcess.find(pidFile: pidPath).map { StorageDaemon($0, pidPath: pidPath) }
    }

    /// Starts one.
    /// - Parameters:
    ///   - listener: what it accepts connections on; its options are theirs.
    ///   - certificates: folder of `ca-cert.pem`, `server-cert.pem`, `server-key.pem`: then only encrypted connections of proven peers are taken.
    ///   - peer: the identity that alone is let in (``StreamCredentials/identity(of:)``); nil for all that are proven.
    ///   - logPath: where its messages go.
    ///   - limit: it ends when nobody has called ``renew()`` for so long; whole seconds.
    /// - Throws: ``AgentProblem``, with what it wrote.
    package static func start(
        _ program: String, lending exports: [Export], on listener: StreamSocket, certificates: String?, peer: String? = nil,
        pidPath: String, logPath: String, endingAfter limit: Duration = orphanLimit
    ) async throws -> StorageDaemon {
        unlink(pidPath)
        let arguments = [program] + Self.arguments(exports, certificates: certificates, peer: peer, pidPath: pidPath)
        let status = try await offloaded { try spawn(arguments, listener: listener, logPath: logPath) }
        let told = FileManager.default.contents(atPath: logPath).map { String(decoding: $0.suffix(600), as: UTF8.self) } ?? ""
        guard status == 0, let daemon = try find(pidPath: pidPath) else {
            if certificates != nil, StreamCredentials.isRefusal(told) {
                throw AgentProblem(.failed, .tlsRefused, "this host's own certificate does not do (\(Self.lastLine(told)))")
            }
            let isLocked = told.contains("Is another process using the image")
            throw AgentProblem(
                isLocked ? .conflict : .failed, isLocked ? .diskError : .qemuError,
                "\(program) did not start (status \(status)): \(told.trimmingCharacters(in: .whitespacesAndNewlines))")
        }
        do {
            try await daemon.watch(limit)
        } catch {
            try await daemon.end()
            throw error
        }
        return daemon
    }

    private static func lastLine(_ text: String) -> String { text.split(separator: "\n").last.map(String.init) ?? "" }

    /// Says that an agent looks after it.
    package func renew() { utimensat(AT_FDCWD, pidPath, nil, 0) }

    /// Ends the daemon `$2` when its pid file `$1` was not touched for `$3` seconds. It needs nobody, and ends with the daemon or the file.
    private static let watcher = """
        lends() { grep -qsF -e "$1" "/proc/$2/cmdline"; }
        (
            while sleep 2 && lends "$@" && touched=$(stat -c %Y -- "$1" 2>&-); do
                [ $(($(date +%s) - touched)) -ge "$3" ] || continue
                kill "$2"
                sleep 3
                if lends "$@"; then kill -KILL "$2"; fi
                rm -f -- "$1"
            done
        ) &
        """

    private func watch(_ limit: Duration) async throws {
        let arguments = ["sh", "-c", Self.watcher, "sh", pidPath, "\(pid)", "\(limit.components.seconds)"]
        let status = try await offloaded { try Self.spawn(arguments, listener: nil, logPath: "/dev/null") }
        guard status == 0 else { throw AgentProblem(.failed, .agentError, "the shell that watches over \(pidPath) ended with \(status)") }
    }

    /// `POSIX_SPAWN_SETSID`, which Glibc's module leaves out.
    private static let ownSession: Int16 = 0x80

    /// The descriptor that it finds its listening socket under.
    private static let listenerNumber: Int32 = 3

    static func arguments(_ exports: [Export], certificates: String?, peer: String?, pidPath: String) -> [String] {
        var arguments = ["--daemonize", "--pidfile", pidPath]
        if let certificates {
            arguments += ["--object", "tls-creds-x509,id=tls,endpoint=server,verify-peer=on,dir=\(escaped(certificates))"]
        }
        if certificates != nil, let peer { arguments += ["--object", "authz-simple,id=peer,identity=\(escaped(peer))"] }
        // Without a bound: every copier has a connection for each of its reads.
        let tls = certificates == nil ? "" : ",tls-creds=tls" + (peer == nil ? "" : ",tls-authz=peer")
        arguments += ["--nbd-server", "addr.type=fd,addr.str=\(listenerNumber),max-connections=0\(tls)"]
        for (number, export) in exports.enumerated() {
            arguments += [
                "--blockdev",
                // Through the page cache: what is read to be sent need not be read from the disk again for its digest.
                "driver=file,node-name=f\(number),filename=\(escaped(export.path)),read-only=on,locking=on,cache.direct=off",
                // An export for reading lets others write; this one between keeps them away. It does nothing else.
                "--blockdev",
                "driver=blkdebug,node-name=l\(number),image=f\(number),read-only=on,unshare-child-perms.0=write,unshare-child-perms.1=resize",
                "--export", "type=nbd,id=e\(number),node-name=l\(number),name=\(escaped(export.name)),writable=off",
            ]
        }
        return arguments
    }

    /// QEMU's keyval syntax: a comma is written twice.
    private static func escaped(_ text: String) -> String { text.replacingOccurrences(of: ",", with: ",,") }

    /// Runs a program until what it leaves running is ready, in a session of its own, with the listener passed on. Blocks.
    private static func spawn(_ arguments: [String], listener: StreamSocket?, logPath: String) throws -> Int32 {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // This thread may block signals, and a child inherits that: it would not end when asked.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK) | ownSession)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let listener {
            posix_spawn_file_actions_adddup2(&actions, listener.descriptor, listenerNumber)
        } else {
            posix_spawn_file_actions_addopen(&actions, listenerNumber, "/dev/null", O_RDONLY, 0)
        }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, logPath, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        // It outlives the agent: with the agent's own sockets it would keep the next one from listening.
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd") {
            if let number = Int32(entry), number > listenerNumber { posix_spawn_file_actions_addclose(&actions, number) }
        }
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        defer { for pointer in pointers { free(pointer) } }
        pointers.append(nil)
        var pid: pid_t = 0
        let problem = posix_spawnp(&pid, arguments[0], &actions, &attributes, pointers, environ)
        guard problem == 0 else {
            throw AgentProblem(
                .failed, .agentError, "\(arguments[0]) could not be run: \(systemMessage(problem)). Is the package qemu-utils installed?")
        }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
    }

    /// Ends it; its connections end with it.
    /// - Throws: ``AgentProblem`` when it is still there.
    package func end() async throws(AgentProblem) {
        try process.signal(SIGTERM)
        if await !process.waitForEnd(until: .now.advanced(by: .seconds(3))) {
            try process.signal(SIGKILL)
            guard await process.waitForEnd(until: .now.advanced(by: .seconds(10))) || !isAlive else {
                throw AgentProblem(.failed, .agentError, "the storage daemon with pid \(pid) was killed and is still there")
            }
        }
        unlink(pidPath)
    }
}
