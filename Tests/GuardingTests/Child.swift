import Glibc
import Synchronization

/// A process started by a test. Not Foundation's: many of those started side by side have crashed this process.
final class Child: Sendable {
    let processIdentifier: pid_t
    /// waitpid's answer once it has ended.
    private let answer = Mutex<Int32?>(nil)

    /// - Parameter program: a path, or a name to be looked for in `/usr/bin` and `/bin`.
    init(_ program: String, _ arguments: [String]) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for (number, flags) in [(STDIN_FILENO, O_RDONLY), (STDOUT_FILENO, O_WRONLY)] {
            posix_spawn_file_actions_addopen(&actions, number, "/dev/null", flags, 0)
        }
        // Threads of Swift's pool block signals, and a child inherits that: it would not end when asked.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let words = ([program] + arguments).map { strdup($0) } + [nil]
        let surroundings = [strdup("PATH=/usr/bin:/bin"), nil]
        defer { for text in words + surroundings { free(text) } }
        var pid: pid_t = 0
        let problem =
            program.contains("/")
            ? posix_spawn(&pid, program, &actions, &attributes, words, surroundings)
            : posix_spawnp(&pid, program, &actions, &attributes, words, surroundings)
        guard problem == 0 else { throw Failure(what: "\(program) cannot be started: \(String(cString: strerror(problem)))") }
        processIdentifier = pid
    }

    var isRunning: Bool { ended() == nil }

    /// Its exit code; nil while it runs, and of one that a signal ended.
    var terminationStatus: Int32? { ended().flatMap { $0 & 0x7f == 0 ? ($0 >> 8) & 0xff : nil } }

    private func ended() -> Int32? {
        answer.withLock { answer in
            var status: Int32 = 0
            if answer == nil, waitpid(processIdentifier, &status, WNOHANG) == processIdentifier { answer = status }
            return answer
        }
    }

    struct Failure: Error {
        let what: String
    }
}
