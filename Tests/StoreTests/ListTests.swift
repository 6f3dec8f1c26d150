import Fleet
import Store
import Testing

@Suite struct ListTests {
    @Test(arguments: Backend.available)
    func `pages run newest first, without gap or repetition, while others submit`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one", facts: .sample(cpus: 64, memoryBytes: 64 * gibibyte))
            var submitted: [MigrationID] = []
            for number in 0..<25 { submitted.append(try await store.submit(store.addServer("s\(number)", on: host)).id) }
            #expect(submitted == submitted.sorted { $0.value < $1.value })
            var pages: [[MigrationID]] = []
            var last: MigrationID?
            repeat {
                let page = try await store.migrations(MigrationFilter(limit: 10, before: last)).map(\.id)
                pages.append(page)
                last = page.last
                _ = try await store.submit(store.addServer("late\(pages.count)", on: host))
            } while last != nil
            #expect(pages.map(\.count) == [10, 10, 5, 0])
            #expect(pages.flatMap { $0 } == submitted.reversed())
        }
    }

    @Test(arguments: Backend.available)
    func `lists are filtered by server, host in either role, and states`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let three = try await store.addHost("three")
            let web = try await store.addServer("web", on: one)
            let failed = try await store.fail(store.claim(web))
            let coming = try await store.bring(store.claim(web), toSwitchingOn: two)
            let leaving = try await store.submit(store.addServer("db", on: two))
            let apart = try await store.submit(store.addServer("mail", on: three))
            func ids(_ filter: MigrationFilter) async throws -> [MigrationID] { try await store.migrations(filter).map(\.id) }
            #expect(try await ids(MigrationFilter()) == [apart.id, leaving.id, coming.id, failed.id])
            #expect(try await ids(MigrationFilter(server: web.id)) == [coming.id, failed.id])
            #expect(try await ids(MigrationFilter(host: two.id)) == [leaving.id, coming.id])
            #expect(try await ids(MigrationFilter(host: two.id, limit: 1)) == [leaving.id])
            #expect(try await ids(MigrationFilter(host: two.id, before: leaving.id)) == [coming.id])
            #expect(try await ids(MigrationFilter(states: [.failed])) == [failed.id])
            #expect(try await ids(MigrationFilter(states: [.pending, .switching])) == [apart.id, leaving.id, coming.id])
            #expect(try await ids(MigrationFilter(states: [.failed, .pending])) == [apart.id, leaving.id, failed.id])
            #expect(try await ids(MigrationFilter(states: [])) == [])
            #expect(try await ids(MigrationFilter(server: web.id, host: two.id, states: [.switching])) == [coming.id])
        }
    }

    @Test(arguments: Backend.available)
    func `a migration is found by its id and by a beginning that only it has`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let first = try await store.submit(store.addServer("web", on: host))
            let second = try await store.submit(store.addServer("db", on: host))
            #expect(try await store.migration(first.id.value) == first)
            #expect(try await store.migration(first.id.value.uppercased()) == first)
            let common = zip(first.id.value, second.id.value).prefix { $0 == $1 }.count
            #expect(try await store.migration(String(first.id.value.prefix(common + 1))) == first)
            let ambiguous = String(first.id.value.prefix(common))
            let sentence = await refusal(.nameTaken) { try await store.migration(ambiguous) }
            #expect(sentence.contains(ambiguous))
            for reference in ["", "web", "%", "ffffffff", first.id.value + "0"] {
                await refusal(.notFound) { try await store.migration(reference) }
            }
            #expect(try await store.journal(of: "none").isEmpty)
            #expect(try await store.history(of: "none").isEmpty)
        }
    }
}
