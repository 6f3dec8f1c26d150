import SQL

/// How it is known what became of a transaction whose commit was not answered: with what it does, each one writes its number under its
/// session. Whoever lost the answer asks another session for that number, and waits there for the lost one's end. The table is in the
/// first schema of the search path, where the store's are too, and is none of them.
enum Receipts {
    static func write(_ number: Int64, of session: String) -> SQLStatement {
        """
        INSERT INTO write_receipts (session, number, at) VALUES (\(session), \(number), now())
        ON CONFLICT (session) DO UPDATE SET number = excluded.number, at = excluded.at
        """
    }

    /// The number that was committed last under a session; 0 where none was. Waits for a transaction that holds its row.
    static func read(of session: String) -> SQLStatement {
        """
        INSERT INTO write_receipts (session, number, at) VALUES (\(session), 0, now())
        ON CONFLICT (session) DO UPDATE SET at = excluded.at RETURNING number
        """
    }

    /// Makes the table where it is not there.
    static func prepare(on connection: PostgresConnection) async throws {
        let found = try await connection.run("SELECT to_regclass('write_receipts') IS NOT NULL AS found")
        switch found {
        case .done(let rows, _, _):
            if try rows.first?.flag("found") == true {
                // Of sessions that are long over. A living one writes its row again.
                connection.post([.plain(sql: "DELETE FROM write_receipts WHERE at < now() - interval '7 days'", values: [])])
                return
            }
        case .failed(let error, _): throw error
        case .skipped: return
        }
        // Two that make it at once would refuse each other, with one of several errors.
        let made = try await connection.script(
            """
            BEGIN;
            SELECT pg_advisory_xact_lock(1198482551, hashtext(current_schema() || '.write_receipts'));
            CREATE TABLE IF NOT EXISTS write_receipts (
                session TEXT PRIMARY KEY, number BIGINT NOT NULL, at TIMESTAMPTZ NOT NULL
            ) WITH (fillfactor = 50);
            COMMIT
            """)
        for case .failed(let error, _) in made {
            connection.post([.plain(sql: "ROLLBACK", values: [])])
            throw error
        }
    }
}
