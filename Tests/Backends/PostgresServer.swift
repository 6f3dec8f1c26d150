import Foundation
import PostgreSQL
import SQL

/// A PostgreSQL server of the tests' own, out of Debian's package: its data in a folder that goes with it, reached by a socket there, and
/// where a test asks for it encrypted by a port of loopback.
package final class PostgresServer: Sendable {
    /// Of its socket.
    package let folder: String
    private let shell: OrderedShell

    private static let one = Task {
        let server = try PostgresServer(port: nil)
        try await server.shell.order("start")
        return server
    }

    /// The one that tests share which do not end it.
    package static func shared() async throws -> PostgresServer { try await one.value }

    /// Runs the body with a server of its own.
    ///
    /// - Parameter port: of loopback, where it takes encrypted connections to `localhost`, and no others; none when nil.
    package static func with<T>(port: UInt16? = nil, _ body: (PostgresServer) async throws -> T) async throws -> T {
        let server = try PostgresServer(port: port)
        return try await server.shell.upToEnd {
            try await server.shell.order("start")
            return try await body(server)
        }
    }

    /// Runs the body with a standby that has all that was acknowledged from now on.
    package func withStandby<T>(_ body: (PostgresServer) async throws -> T) async throws -> T {
        let standby = try PostgresServer(port: nil)
        return try await standby.shell.upToEnd {
            try await standby.shell.order("follow \(folder)")
            try await sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            try await sql("SELECT pg_reload_conf()")
            return try await body(standby)
        }
    }

    private init(port: UInt16?) throws {
        folder = OrderedShell.newFolder()
        shell = try OrderedShell(
            "PostgreSQL", script: OrderedShell.beginning + Self.script, folder: folder, arguments: port.map { ["\($0)"] } ?? [])
    }

    /// libpq's URI of a schema of the server's one database, which takes the place of a database of its own.
    ///
    /// - Parameter folder: of another socket that leads to it, or of several.
    package func url(schema: String, folder: String? = nil) -> String {
        "postgres:///postgres?host=\(folder ?? self.folder)&user=godwit&options=-csearch_path%3D\(schema)"
    }

    /// The certificate that it shows, which is nobody's but its own.
    package var certificate: String { folder + "/server.crt" }

    /// Makes an empty schema of a new name.
    package func makeSchema() async throws -> String {
        let name = "t_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        try await sql("CREATE SCHEMA \(name)")
        return name
    }

    package func dropSchema(_ name: String) async throws {
        try await sql("SET client_min_messages = warning; DROP SCHEMA \(name) CASCADE")
    }

    /// Ends the server as `pg_ctl stop -m immediate` does: at once, without a checkpoint.
    package func stopImmediately() async throws { try await shell.order("immediate") }

    /// Ends the server's first process by SIGKILL; its others find that out for themselves.
    package func kill() async throws { try await shell.order("kill") }

    /// Starts it again after either, and returns once it takes connections.
    package func startAgain() async throws { try await shell.order("start") }

    /// Makes a standby the one that takes writes.
    package func promote() async throws { try await shell.order("promote") }

    /// Runs a statement by psql.
    package func sql(_ statement: String) async throws { try await shell.order("sql \(statement)") }

    private static let script = #"""
        port=${2:-}
        bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
        listen=(-c listen_addresses=)
        if [ -n "$port" ]; then
            listen=(-c listen_addresses=localhost -p "$port" -c ssl=on -c ssl_cert_file="$folder/server.crt" -c ssl_key_file="$folder/server.key")
        fi
        secure() {
            "${as[@]}" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
                -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt >> log 2>&1 || return 1
            printf 'local all all trust\nhostssl all all samehost trust\n' > data/pg_hba.conf
        }
        start() {
            if [ ! -e data/PG_VERSION ]; then
                "${as[@]}" "$bin/initdb" --pgdata=data --username=godwit --auth=trust --no-sync --no-locale --encoding=UTF8 >> log 2>&1 \
                    || return 1
                if [ -n "$port" ]; then secure || return 1; fi
            fi
            # After a SIGKILL the last of its processes may still be there, and then it does not start.
            for ((i = 0; i < 300; i++)); do
                if [ -z "$pid" ] || ! kill -0 "$pid" 2> /dev/null; then
                    "${as[@]}" "$bin/postgres" -D data -k "$folder" "${listen[@]}" -c fsync=off -c max_connections=800 \
                        -c shared_buffers=32MB -c dynamic_shared_memory_type=mmap >> log 2>&1 < /dev/null &
                    pid=$!
                fi
                "${as[@]}" "$bin/pg_isready" -q -h "$folder" ${port:+-p "$port"} && return 0
                read -r -t 0.1 <> <(:)
            done
            return 1
        }
        follow() {
            "${as[@]}" "$bin/pg_basebackup" -h "$1" -U godwit -D data -R -c fast --no-sync >> log 2>&1 && start
        }
        while read -r order rest; do
            case $order in
                start) start; answer $? ;;
                follow) follow "$rest"; answer $? ;;
                promote) "${as[@]}" "$bin/pg_ctl" promote -D data >> log 2>&1; answer $? ;;
                immediate) stop QUIT; answer 0 ;;
                kill) stop KILL; answer 0 ;;
                sql)
                    "$bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$folder" ${port:+-p "$port"} -U godwit -d postgres -c "$rest" >> log 2>&1
                    answer $?
                    ;;
                end) break ;;
            esac
        done
        stop QUIT
        remove
        [ "${order:-}" != end ] || echo done
        """#
}
