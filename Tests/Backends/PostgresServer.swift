import Dispatch
import Foundation
import PostgreSQL
import SQL
import Synchronization

/// A PostgreSQL server of the tests' own, out of Debian's package: its data in a folder that goes with it, reached by a socket there only.
///
/// A shell stands between, whose input is a pipe from this process: when the pipe ends, as it does with this process however that ends,
/// the shell ends the server and removes the folder.
package final class PostgresServer: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// Of its socket.
    package let folder: String
    private let orders: FileHandle
    private let answers: FileHandle
    /// Answers are read where no task's thread waits for them, one order after the other.
    private let queue = DispatchQueue(label: "godwit.test.postgres")

    private static let one = Task { try await PostgresServer.start() }

    /// The one that tests share which do not end it.
    package static func shared() async throws -> PostgresServer { try await one.value }

    /// Runs the body with a server of its own.
    package static func with<T>(_ body: (PostgresServer) async throws -> T) async throws -> T {
        let server = try await start()
        do {
            let value = try await body(server)
            try await server.order("end")
            return value
        } catch {
            try await server.order("end")
            throw error
        }
    }

    private init(folder: String, orders: FileHandle, answers: FileHandle) {
        self.folder = folder
        self.orders = orders
        self.answers = answers
    }

    deinit {
        // Ends the shell, and that the server.
        orders.closeFile()
    }

    private static func start() async throws -> PostgresServer {
        let folder = NSTemporaryDirectory() + "gpg-" + UUID().uuidString.prefix(8).lowercased()
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let (input, output) = (Pipe(), Pipe())
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", script, "postgres-for-tests", folder]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let server = PostgresServer(folder: folder, orders: input.fileHandleForWriting, answers: output.fileHandleForReading)
        try await server.order("start")
        return server
    }

    /// libpq's URI of a schema of the server's one database, which takes the place of a database of its own.
    ///
    /// - Parameter folder: of another socket that leads to it.
    package func url(schema: String, folder: String? = nil) -> String {
        "postgres:///postgres?host=\(folder ?? self.folder)&user=godwit&options=-csearch_path%3D\(schema)"
    }

    /// Makes an empty schema of a new name.
    package func makeSchema() async throws -> String {
        let name = "t_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        try await order("sql CREATE SCHEMA \(name)")
        return name
    }

    package func dropSchema(_ name: String) async throws {
        try await order("sql SET client_min_messages = warning; DROP SCHEMA \(name) CASCADE")
    }

    /// Ends the server as `pg_ctl stop -m immediate` does: at once, without a checkpoint.
    package func stopImmediately() async throws { try await order("immediate") }

    /// Ends the server's first process by SIGKILL; its others find that out for themselves.
    package func kill() async throws { try await order("kill") }

    /// Starts it again after either, and returns once it takes connections.
    package func startAgain() async throws { try await order("start") }

    /// Runs a statement by psql.
    package func sql(_ statement: String) async throws { try await order("sql \(statement)") }

    private func order(_ line: String) async throws {
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
            throw Failure(description: "PostgreSQL for tests did not “\(line)”: \(answer) \(log.suffix(2000))")
        }
    }

    /// PostgreSQL runs under no root: as the user of Debian's package there.
    private static let script = #"""
        trap '' INT TERM HUP
        folder=$1
        cd "$folder" || exit 1
        bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
        as=()
        if [ "$(id -u)" = 0 ]; then
            chown postgres "$folder"
            as=(setpriv --reuid=postgres --regid=postgres --clear-groups --)
        fi
        pid=
        start() {
            if [ ! -e data/PG_VERSION ]; then
                "${as[@]}" "$bin/initdb" --pgdata=data --username=godwit --auth=trust --no-sync --no-locale --encoding=UTF8 >> log 2>&1 \
                    || return 1
            fi
            # After a SIGKILL the last of its processes may still be there, and then it does not start.
            for ((i = 0; i < 300; i++)); do
                if [ -z "$pid" ] || ! kill -0 "$pid" 2> /dev/null; then
                    "${as[@]}" "$bin/postgres" -D data -k "$folder" -c listen_addresses= -c fsync=off -c max_connections=800 \
                        -c shared_buffers=32MB -c dynamic_shared_memory_type=mmap >> log 2>&1 < /dev/null &
                    pid=$!
                fi
                "${as[@]}" "$bin/pg_isready" -q -h "$folder" && return 0
                read -r -t 0.1 <> <(:)
            done
            return 1
        }
        stop() {
            [ -n "$pid" ] || return 0
            kill -"$1" "$pid" 2> /dev/null
            wait "$pid" 2> /dev/null
            pid=
        }
        answer() { if [ "$1" = 0 ]; then echo done; else echo "failed with $1"; fi; }
        while read -r order rest; do
            case $order in
                start) start; answer $? ;;
                immediate) stop QUIT; answer 0 ;;
                kill) stop KILL; answer 0 ;;
                sql) "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$folder" -U godwit -d postgres -c "$rest" >> log 2>&1; answer $? ;;
                end) break ;;
            esac
        done
        stop QUIT
        cd /
        for ((i = 0; i < 100; i++)); do rm -rf "$folder" 2> /dev/null && break; read -r -t 0.1 <> <(:); done
        [ "${order:-}" != end ] || echo done
        """#
}
