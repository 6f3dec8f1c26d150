import Backends
import SQL
import Testing

@Suite struct ChangesTests {
    /// What a listener read at the last signal that it took.
    private actor Seen {
        var count: Int64 = -1
        func set(_ count: Int64) { self.count = count }
    }

    /// Runs the body beside a listener that looks at the database at every signal and at no other time.
    private func withListener(_ database: any SQLDatabase, _ body: (Seen) async throws -> Void) async throws {
        let seen = Seen()
        let signals = database.changes()
        let listening = Task {
            for await _ in signals {
                do {
                    await seen.set(try await database.integer("SELECT count(*) FROM t") ?? -1)
                } catch is CancellationError {
                    return
                }
            }
        }
        try await body(seen)
        listening.cancel()
        try await listening.value
    }

    /// How long it takes until the listener has seen so many rows; nil if it does not within ten seconds.
    private func delay(until count: Int64, _ seen: Seen) async throws -> Duration? {
        let start = ContinuousClock.now
        while await seen.count < count {
            guard ContinuousClock.now - start < .seconds(10) else { return nil }
            try await Task.sleep(for: .microseconds(200))
        }
        return ContinuousClock.now - start
    }

    @Test(arguments: Backend.available)
    func `a listener misses no commit of another connection and hears of it within a second`(_ backend: Backend) async throws {
        try await withDatabases(backend, 2) { databases in
            try await withListener(databases[0]) { seen in
                #expect(try await delay(until: 0, seen) != nil)
                // The median: a crowded machine may hold up one or the other.
                var delays: [Duration] = []
                for count in 1...20 {
                    // Some at once, some after it has become quiet.
                    if count % 5 == 0 { try await Task.sleep(for: .milliseconds(300)) }
                    try await databases[1].write { try await $0.execute("INSERT INTO t VALUES (\(count), 1)") }
                    delays.append(try #require(try await delay(until: Int64(count), seen)))
                }
                #expect(delays.sorted()[10] < .seconds(1))
            }
        }
    }

    @Test(arguments: Backend.available)
    func `a listener hears of a commit of its own process`(_ backend: Backend) async throws {
        try await withDatabase(backend) { database in
            try await withListener(database) { seen in
                var delays: [Duration] = []
                for count in 1...20 {
                    try await database.write { try await $0.execute("INSERT INTO t VALUES (\(count), 1)") }
                    delays.append(try #require(try await delay(until: Int64(count), seen)))
                }
                #expect(delays.sorted()[10] < .seconds(1))
            }
        }
    }

    @Test(arguments: Backend.available)
    func `a commit between the call to listen and the first wait is not missed`(_ backend: Backend) async throws {
        try await withDatabases(backend, 2) { databases in
            let signals = databases[0].changes()
            try await databases[1].write { try await $0.execute("INSERT INTO t VALUES (1, 1)") }
            for await _ in signals where try await databases[0].integer("SELECT count(*) FROM t") == 1 { break }
        }
    }

    @Test func `a write that changes nothing wakes nobody`() async throws {
        try await withDatabases(.sqlite, 2) { databases in
            // One reader's own counter of others' commits: the pool lends the one that came back last.
            let before = try await databases[1].integer("PRAGMA data_version")
            try await databases[0].write { try await $0.execute("UPDATE t SET n = 2 WHERE id = 9") }
            #expect(try await databases[1].integer("PRAGMA data_version") == before)
            try await databases[0].write { try await $0.execute("INSERT INTO t VALUES (1, 1)") }
            #expect(try await databases[1].integer("PRAGMA data_version") != before)
        }
    }

    @Test(arguments: Backend.available)
    func `closing ends every listener's stream`(_ backend: Backend) async throws {
        try await withDatabases(backend, 2) { databases in
            let streams = [databases[0].changes(), databases[0].changes()]
            let ends = streams.map { stream in Task { for await _ in stream {} } }
            await databases[0].close()
            for end in ends { await end.value }
            for await _ in databases[0].changes() { Issue.record("a signal of a closed database") }
        }
    }

    @Test(arguments: Backend.available)
    func `listeners may come and go`(_ backend: Backend) async throws {
        try await withDatabases(backend, 2) { databases in
            for count in 1...10 {
                try await withListener(databases[0]) { seen in
                    try await databases[1].write { try await $0.execute("INSERT INTO t VALUES (\(count), 1)") }
                    #expect(try await delay(until: Int64(count), seen) != nil)
                }
            }
        }
    }
}
