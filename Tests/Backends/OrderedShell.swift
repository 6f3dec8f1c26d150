import Dispatch
import Foundation

/// A shell that takes orders, a line each, and answers each by a line: `done`, or why not.
///
/// Its input is a pipe from this process: when the pipe ends, as it does with this process however that ends, the script ends what it
/// started and removes what it made.
final class OrderedShell: Sendable {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let name: String
    private let folder: String
    private let orders: FileHandle
    private let answers: FileHandle
    /// Answers are read where no task's thread waits for them, one order after the other.
    private let queue = DispatchQueue(label: "godwit.test.shell")

    /// - Parameter name: of what it runs, for messages.
    /// - Parameter folder: a new one of its own, which the script removes at its end; `log` in it is told with a failure.
    /// - Parameter arguments: after the folder.
    init(_ name: String, script: String, folder: String, arguments: [String] = []) throws {
        self.name = name
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let (input, output) = (Pipe(), Pipe())
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", script, "\(name)-for-tests", folder] + arguments
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        orders = input.fileHandleForWriting
        answers = output.fileHandleForReading
    }

    deinit { orders.closeFile() }

    func order(_ line: String) async throws {
        let answer: String = try await withCheckedThrowingContinuation { continuation in
            queue.async { [orders, answers] in
                do {
                    try orders.write(contentsOf: Data((line + "\n").utf8))
                    var answer = Data()
                    while let byte = try answers.read(upToCount: 1), !byte.isEmpty, byte.first != 10 { answer += byte }
                    continuation.resume(returning: String(decoding: answer, as: UTF8.self))
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
        guard answer == "done" else {
            let log = (try? String(contentsOfFile: folder + "/log", encoding: .utf8)) ?? ""
            throw Failure(description: "\(name) for tests did not “\(line)”: \(answer) \(log.suffix(2000))")
        }
    }

    /// Runs the body, and gives the last order however it ends.
    func upToEnd<T>(_ body: () async throws -> T) async throws -> T {
        let outcome: Result<T, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        try await order("end")
        return try outcome.get()
    }

    /// A folder for one, short enough for the sockets in it.
    static func newFolder() -> String { NSTemporaryDirectory() + "gt-" + UUID().uuidString.prefix(8).lowercased() }

    /// What every script begins with: PostgreSQL and its pooler run under no root, so there as the user of Debian's package.
    static let beginning = #"""
        trap '' INT TERM HUP
        folder=$1
        cd "$folder" || exit 1
        as=()
        if [ "$(id -u)" = 0 ]; then
            chown postgres "$folder"
            as=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
        fi
        pid=
        stop() {
            [ -n "$pid" ] || return 0
            kill -"$1" "$pid" 2> /dev/null
            wait "$pid" 2> /dev/null
            pid=
        }
        answer() { if [ "$1" = 0 ]; then echo done; else echo "failed with $1"; fi; }
        remove() {
            cd /
            for ((i = 0; i < 100; i++)); do rm -rf "$folder" 2> /dev/null && break; read -r -t 0.1 <> <(:); done
        }

        """#
}
