import Backends
import Foundation
import SQL
import Store
import Testing

@Suite struct SchemaTests {
    private static let older = [
        SchemaStep(
            number: 1, name: "one",
            text: """
                CREATE TABLE schema_versions (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL);
                CREATE TABLE things (name TEXT NOT NULL);
                INSERT INTO things (name) VALUES ('kept');
                """)
    ]
    private static let newer =
        older + [
            SchemaStep(number: 2, name: "two", text: "ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 3;"),
            SchemaStep(number: 3, name: "three", text: "CREATE INDEX things_by_size ON things (size);"),
        ]

    private func versions(_ database: any SQLDatabase) async throws -> [Int64] {
        try await database.read { transaction in
            try await transaction.query("SELECT number FROM schema_versions ORDER BY number").map { try $0.integer("number") }
        }
    }

    @Test(arguments: Backend.available)
    func `an empty database gets the schema, and the next start finds it`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            for _ in 0..<2 {
                let store = try await Store(open())
                #expect(try await store.hosts().isEmpty)
                #expect(try await versions(store.database) == SchemaStep.all(for: store.database.dialect).map { Int64($0.number) })
                await store.database.close()
            }
        }
    }

    @Test(arguments: Backend.available)
    func `an older database is brought up to date and keeps what it has`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            let database = try await open()
            _ = try await Store(database, schema: Self.older)
            #expect(try await versions(database) == [1])
            _ = try await Store(database, schema: Self.newer)
            #expect(try await versions(database) == [1, 2, 3])
            let things = try await database.read { try await $0.query("SELECT name, size FROM things") }
            #expect(things.map(\.values) == [[.text("kept"), .integer(3)]])
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `an upgrade that fails leaves the older version whole`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            let database = try await open()
            _ = try await Store(database, schema: Self.older)
            let broken = Self.newer + [SchemaStep(number: 4, name: "four", text: "CREATE TABLE more (n INTEGER); DROP TABLE nowhere;")]
            await refusal(.invalid) { try await Store(database, schema: broken) }
            #expect(try await versions(database) == [1])
            let things = try await database.read { try await $0.query("SELECT * FROM things") }
            #expect(things.map(\.values) == [[.text("kept")]])
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `a database of a newer Godwit is refused with both versions named, and left alone`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            let database = try await open()
            _ = try await Store(database, schema: Self.newer)
            let sentence = await refusal(.incompatible) { try await Store(database, schema: Self.older) }
            #expect(sentence.contains("version 3") && sentence.contains("up to 1") && sentence.contains("newer Godwit"))
            #expect(try await versions(database) == [1, 2, 3])
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `a database of something else is refused and left alone`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            let database = try await open()
            try await database.write { try await $0.script("CREATE TABLE recipes (name TEXT)") }
            let sentence = await refusal(.incompatible) { try await Store(database) }
            #expect(sentence.contains("not Godwit's"))
            await refusal(.incompatible) { try await Store.open { try await open() } }
            let tables = try await database.read { transaction in
                try await transaction.query("SELECT name FROM recipes").count
            }
            #expect(tables == 0)
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `a database whose table of versions is another program's is refused`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            let database = try await open()
            try await database.write { try await $0.script("CREATE TABLE schema_versions (version TEXT)") }
            await refusal(.incompatible) { try await Store(database) }
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `a database that went another way to the same number is refused`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            let database = try await open()
            _ = try await Store(database, schema: Self.newer)
            let other =
                Self.older + [
                    SchemaStep(number: 2, name: "zwei", text: ""), SchemaStep(number: 3, name: "drei", text: ""),
                    SchemaStep(number: 4, name: "vier", text: ""),
                ]
            await refusal(.incompatible) { try await Store(database, schema: other) }
            await database.close()
        }
    }

    @Test(arguments: Backend.available)
    func `several processes may start on an empty database at once`(_ backend: Backend) async throws {
        try await backend.withDatabase { open in
            try await withThrowingTaskGroup(of: Store.self) { group in
                for _ in 0..<6 { group.addTask { try await Store(open()) } }
                for try await store in group {
                    #expect(try await versions(store.database).count == SchemaStep.all(for: store.database.dialect).count)
                    await store.database.close()
                }
            }
        }
    }

    @Test(arguments: [(SQLDialect.sqlite, "sqlite"), (.postgres, "postgres")])
    func `the program carries every schema file, under its own number and name`(_ dialect: SQLDialect, _ name: String) throws {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../schema/\(name)")
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        let steps = SchemaStep.all(for: dialect)
        #expect(files == steps.map { "\(String(repeating: "0", count: 4 - "\($0.number)".count))\($0.number)_\($0.name).sql" })
        #expect(steps.map(\.number) == Array(1...steps.count))
        for (file, step) in zip(files, steps) {
            #expect(try String(contentsOf: folder.appending(path: file), encoding: .utf8) == step.text)
        }
    }

    @Test func `both engines are brought through the same steps`() {
        #expect(SchemaStep.all(for: .sqlite).map(\.name) == SchemaStep.all(for: .postgres).map(\.name))
    }

    @Test func `a database that does not open is unavailable, with its path in the cause`() async throws {
        let sentence = await refusal(.unavailable) {
            try await Store.open { throw SQLError(.storage, "the database /nowhere cannot be opened") }
        }
        #expect(sentence.contains("cannot be read or written"))
    }
}
