import Backends
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
            let sentence = await refusal(.ambiguous) { try await store.migration(ambiguous) }
            #expect(sentence.contains(ambiguous) && sentence.contains("\(first.id) (web)") && sentence.contains("\(second.id) (db)"))
            for reference in ["", "web", "%", "ffffffff", first.id.value + "0"] {
                await refusal(.notFound) { try await store.migration(reference) }
            }
            #expect(try await store.journal(of: "none").isEmpty)
            #expect(try await store.history(of: "none").isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `lists are filtered by mode, run the other way too, and are counted up to a bound`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let live = try await store.submit(store.addServer("web", on: host))
            let cold = try await store.submit(store.addServer("db", on: host, status: .ready), mode: .cold)
            func ids(_ filter: MigrationFilter) async throws -> [MigrationID] { try await store.migrations(filter).map(\.id) }
            #expect(try await ids(MigrationFilter(modes: [.cold])) == [cold.id])
            #expect(try await ids(MigrationFilter(modes: [.cold, .live])) == [cold.id, live.id])
            #expect(try await ids(MigrationFilter(newestFirst: false)) == [live.id, cold.id])
            #expect(try await ids(MigrationFilter(host: host.id, newestFirst: false)) == [live.id, cold.id])
            #expect(try await ids(MigrationFilter(before: live.id, newestFirst: false)) == [cold.id])
            #expect(try await store.countMigrations(MigrationFilter(limit: 10)) == 2)
            #expect(try await store.countMigrations(MigrationFilter(host: host.id, modes: [.live], limit: 10)) == 1)
            #expect(try await store.countMigrations(MigrationFilter(limit: 1)) == 1)
        }
    }

    @Test(arguments: Backend.available)
    func `a server or host is found by id, name and a beginning of its id, and an ambiguous one lists the candidates`(
        _ backend: Backend
    ) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let web = try await store.addServer("web", on: host)
            #expect(try await store.server("web") == web)
            #expect(try await store.server(web.id.value) == web)
            #expect(try await store.server(String(web.id.value.prefix(8)).uppercased()) == web)
            #expect(try await store.server(String(web.id.value.prefix(20))) == web)
            #expect(try await store.host(String(host.id.value.prefix(8))) == host)
            for reference in [String(web.id.value.prefix(7)), "", "%", "WEB", web.id.value + "0", "ffffffff"] {
                await refusal(.notFound) { try await store.server(reference) }
            }
            await refusal(.notFound) { try await store.host(String(host.id.value.prefix(7))) }

            // A name that is the beginning of another's id.
            let mail = try await store.addServer(String(web.id.value.prefix(8)), on: host)
            let sentence = await refusal(.ambiguous) { try await store.server(mail.name) }
            #expect(sentence.contains("\(web.id) (web)") && sentence.contains("\(mail.id) (\(mail.name))"))
            #expect(try await store.server(mail.id.value) == mail)
            #expect(try await store.server(String(web.id.value.prefix(9))) == web)
            // An id in full is that of its server, whatever others are called.
            _ = try await store.addServer(web.id.value, on: host)
            #expect(try await store.server(web.id.value) == web)
        }
    }

    @Test(arguments: Backend.available)
    func `names are told of those servers that still are`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let web = try await store.addServer("web", on: host)
            #expect(try await store.serverNames([web.id, "gone"]) == [web.id: "web"])
            #expect(try await store.serverNames([]).isEmpty)
        }
    }

    @Test(arguments: Backend.available)
    func `lists are filtered by reason, actor and time of submit, and run by the time of the end too`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let (first, second) = (try await store.addServer("web", on: host), try await store.addServer("db", on: host))
            let claimed = [try await store.claim(first), try await store.claim(second)]
            // The one that began last ends first.
            let late = try await store.fail(claimed[1])
            let early = try await store.fail(claimed[0])
            let open = try await store.submit(first)
            func ids(_ filter: MigrationFilter) async throws -> [MigrationID] { try await store.migrations(filter).map(\.id) }
            let all = [open.id, late.id, early.id]
            #expect(try await ids(MigrationFilter(reasons: [.targetLost])) == [late.id, early.id])
            #expect(try await ids(MigrationFilter(reasons: [.diskFull])) == [])
            #expect(try await ids(MigrationFilter(actor: "ada")) == all)
            #expect(try await ids(MigrationFilter(actor: "nobody")) == [])
            #expect(
                try await ids(MigrationFilter(since: late.createdAt)) == all.filter { $0 != early.id || early.createdAt >= late.createdAt })
            #expect(try await ids(MigrationFilter(until: early.createdAt)) == [])
            #expect(try await ids(MigrationFilter(since: Timestamp(milliseconds: 0), until: Timestamp(milliseconds: .max))) == all)
            let ends = [(late.finishedAt, late.id), (early.finishedAt, early.id)].sorted {
                ($0.0?.milliseconds ?? 0, $0.1.value) > ($1.0?.milliseconds ?? 0, $1.1.value)
            }.map(\.1)
            #expect(try await ids(MigrationFilter(byEnd: true)) == ends)
            #expect(try await ids(MigrationFilter(newestFirst: false, byEnd: true)) == ends.reversed())
            #expect(try await ids(MigrationFilter(limit: 1, byEnd: true)) == [ends[0]])
            #expect(try await ids(MigrationFilter(before: ends[0], byEnd: true)) == [ends[1]])
            #expect(try await ids(MigrationFilter(before: ends[1], newestFirst: false, byEnd: true)) == [ends[0]])
            #expect(try await ids(MigrationFilter(host: host.id, byEnd: true)) == ends)
            #expect(try await store.countMigrations(MigrationFilter(byEnd: true)) == 2)
        }
    }
}
