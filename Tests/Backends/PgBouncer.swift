import Foundation
import PostgreSQL
import SQL

/// A PgBouncer of a test's own before a PostgreSQL server, in its transaction mode: a session lasts for its clients no longer than their
/// transactions.
package final class PgBouncer: Sendable {
    /// Of its socket.
    package let folder: String
    private let shell: OrderedShell

    /// Runs the body with one.
    ///
    /// - Parameter schema: what every session of the server has for its search path; the pooler keeps none of its clients'.
    /// - Parameter sessions: with the server, at most.
    package static func with<T>(
        _ server: PostgresServer, schema: String, sessions: Int, _ body: (PgBouncer) async throws -> T
    ) async throws -> T {
        guard let program = ProcessInfo.processInfo.environment["GODWIT_TEST_POOLER"] else {
            throw OrderedShell.Failure(
                description: "GODWIT_TEST_POOLER is not set: run the tests by script/test, or set it to `script/bootstrap --print-pooler`")
        }
        let pooler = try PgBouncer(program, server, schema, sessions)
        return try await pooler.shell.upToEnd {
            try await pooler.shell.order("start")
            return try await body(pooler)
        }
    }

    private init(_ program: String, _ server: PostgresServer, _ schema: String, _ sessions: Int) throws {
        folder = OrderedShell.newFolder()
        shell = try OrderedShell(
            "PgBouncer", script: OrderedShell.beginning + Self.script, folder: folder,
            arguments: [program, server.folder, schema, "\(sessions)"])
    }

    /// libpq's URI of the database behind it.
    package var url: String { "postgres:///fleet?host=\(folder)&port=6432&user=godwit" }

    private static let script = #"""
        # What only root may enter keeps the pooler's user out.
        cp "$2" pgbouncer
        cat > pgbouncer.ini <<END
        [databases]
        fleet = host=$3 dbname=postgres user=godwit connect_query='SET search_path TO $4'
        [pgbouncer]
        listen_addr =
        unix_socket_dir = $folder
        auth_type = any
        pool_mode = transaction
        default_pool_size = $5
        max_client_conn = 500
        END
        start() {
            "${as[@]}" ./pgbouncer pgbouncer.ini >> log 2>&1 < /dev/null &
            pid=$!
            for ((i = 0; i < 100; i++)); do
                [ ! -S .s.PGSQL.6432 ] || return 0
                kill -0 "$pid" 2> /dev/null || return 1
                read -r -t 0.1 <> <(:)
            done
            return 1
        }
        while read -r order; do
            case $order in
                start) start; answer $? ;;
                end) break ;;
            esac
        done
        stop KILL
        remove
        [ "${order:-}" != end ] || echo done
        """#
}
