import ArgumentParser
import Client
import Fleet
import Foundation
import Testing

@testable import Output
@testable import godwit

@Suite struct BatchCommandTests {
    private func refusal(_ line: String) -> (code: Int32, message: String)? {
        do {
            _ = try Godwit.parseAsRoot(line.split(separator: " ").map(String.init))
            return nil
        } catch {
            let failure = Godwit.failure(error)
            return (failure.exitCode, failure.message)
        }
    }

    @Test(arguments: [
        ("batch-migrate", "name the servers"),
        ("batch-migrate list --from-host host1", "not both"),
        ("batch-migrate list --search web", "not both"),
        ("batch-migrate list more", "more"),
        ("batch-migrate list --mode rescue", "auto, live, cold"),
        ("batch-migrate list --priority 101", "-100 to 100"),
        ("batch-migrate list --priority high", "whole number"),
        ("batch-migrate list --max-parallel 0", "1 to 100000"),
        ("batch-migrate list --max-parallel --wait", "--max-parallel"),
        ("batch-migrate list --max-failures 0", "1% to 100%"),
        ("batch-migrate list --max-failures 101%", "1% to 100%"),
        ("batch-migrate list --max-failures some", "1% to 100%"),
        ("batch-migrate list --start-at tomorrow", "2026-03-01T22:00:00Z"),
        ("batch-migrate list --max-bandwidth-mb 0", "1 to 1000000"),
        ("batch-migrate list --dry-run --wait", "--dry-run"),
        ("batch-migrate list --wait-timeout 5", "--wait"),
        ("batch-migrate list --wait --wait-timeout soon", "time"),
        ("batch-migrate list --mode live --auto-start", "--auto-start"),
        ("batch-migrate list --output xml", "xml"),
        ("batch-list --status over", "cancelling"),
        ("batch-list --limit 0", "--limit"),
        ("batch-show", "ID"), ("batch-watch", "ID"), ("batch-pause", "ID"), ("batch-resume", "ID"), ("batch-cancel", "ID"),
        ("batch-retry", "ID"), ("batch-retry a --wait-timeout 5", "--wait"),
        ("batch-pause a b", "b"),
        ("queue-limits --cluster -1", "0 to 100000"), ("queue-limits --cluster", "--cluster"), ("queue-limits --cluster all", "none"),
        ("queue-limits 5", "5"),
    ]) func `wrong usage exits 2 with one line that names what is wrong`(line: String, says: String) throws {
        let refusal = try #require(self.refusal(line))
        #expect(refusal.code == 2, "\(refusal.message)")
        #expect(!refusal.message.contains("\n") && refusal.message.contains(says), "\(refusal.message)")
    }

    @Test(arguments: [
        ("batch-migrate /nosuch/file", "cannot be read"), ("batch-migrate /dev/null", "lists no server"),
        ("batch-migrate --filter colour=red", "a server has no field “colour”"),
        ("batch-list --field colour", "a batch has no field “colour”"),
    ]) func `a file or a filter that is none is told before anybody is asked`(line: String, says: String) async throws {
        let command = try Godwit.parseAsRoot(line.split(separator: " ").map(String.init))
        var run = try #require(command as? any AsyncParsableCommand)
        let failure = await #expect(throws: CommandFailure.self) { try await run.run() }
        #expect(failure?.exitCode == 2)
        #expect(failure?.message.contains(says) == true, "\(failure?.message ?? "")")
    }

    @Test func `lines are ids or names, comments say nothing, and each keeps its number`() {
        let lines = BatchLines("# tonight\nweb1\n\n  web2  # the big one\r\n\tdb1\n#db2\n")
        #expect(lines.servers == ["web1", "web2", "db1"])
        #expect(lines.numbers == [2, 4, 5])
        // As other systems write files.
        #expect(BatchLines("\u{FEFF}web1\r\n\r\nweb2\r\n") == BatchLines("web1\n\nweb2\n"))
        #expect(BatchLines("web1\r\nweb2").numbers == [1, 2])
    }

    @Test func `the flags become the request`() throws {
        let line = """
            --mode live --name night --priority -5 --max-parallel 4 --max-failures 5% --start-at 2026-03-01T22:00:00Z --skip-invalid \
            --client-token t --prefer-host h2 --max-bandwidth-mb 100 --enable-tls list
            """
        let command = try BatchMigrate.parse(line.split(separator: " ").map(String.init))
        let request = command.request(BatchLines("a\nb"))
        #expect(request.servers == ["a", "b"] && request.selection == nil)
        #expect((request.mode, request.name, request.priority, request.maxParallel) == (.live, "night", -5, 4))
        #expect((request.maxFailures, request.skipInvalid, request.token) == (.percent(5), true, "t"))
        #expect(request.startAt?.description == "2026-03-01T22:00:00.000Z")
        #expect(request.live == LiveMigrateRequest(preferHost: "h2", maxBandwidthMB: 100, enableTLS: true))
        #expect(request.cold == MigrateRequest(preferHost: "h2", maxBandwidthMB: 100, enableTLS: true))
        let selected = try BatchMigrate.parse(["--from-host", "h1", "--filter", "status=running", "--search", "web"]).request(nil)
        #expect(selected.selection == BatchRequest.Selection(fromHost: "h1", filter: ["status=running"], search: "web"))
        #expect(selected.token?.hasPrefix("cli-") == true, "an answer that is lost can be asked for again")
    }

    @Test func `a refusal is a table with the lines of the file`() {
        let flaws = [
            BatchFlaw(line: 1, id: "nosuch", reason: Reason("not-found", "There is no server nosuch.")),
            BatchFlaw(line: 2, id: "web1", reason: Reason("duplicate", "Server web1 is listed before, as “web1”.")),
        ]
        #expect(
            BatchTables.lines(flaws, [3, 7]) == """
                +------+--------+-----------+------------------------------------------+
                | Line |   ID   |  Reason   |                 Message                  |
                +------+--------+-----------+------------------------------------------+
                | 3    | nosuch | not-found | There is no server nosuch.               |
                | 7    | web1   | duplicate | Server web1 is listed before, as “web1”. |
                +------+--------+-----------+------------------------------------------+
                ***  Total: 2  ***

                """)
    }

    @Test func `a plan is a table of those that go and one of those that cannot`() {
        let (h1, h2) = (Named(id: "1", name: "host1"), Named(id: "2", name: "host2"))
        let plan = BatchPlanView(
            moves: [
                .init(server: Named(id: "a", name: "web1"), mode: .live, sourceHost: h1, targetHost: h2, wave: 1, atMostMS: 4200),
                .init(server: Named(id: "b", name: "db1"), mode: .cold, sourceHost: h1, reason: Reason(.noHost, "No host.")),
            ], lines: [])
        #expect(
            BatchTables.plan(plan) == """
                +-------+------+--------+------+--------+--------+---------+
                | Order | Wave | Server | Mode | Source | Target | At_most |
                +-------+------+--------+------+--------+--------+---------+
                | 1     | 1    | web1   | live | host1  | host2  | 4.2 s   |
                +-------+------+--------+------+--------+--------+---------+
                ***  Total: 1  ***
                +--------+------+--------+-----------+
                | Server | Mode | Source | Cannot go |
                +--------+------+--------+-----------+
                | db1    | cold | host1  | No host.  |
                +--------+------+--------+-----------+
                ***  Total: 1  ***

                """)
    }

    @Test func `a line tells how far it is`() {
        var batch = BatchView(
            id: "1", name: "night", status: .running, total: 10, running: 2, ready: 3, failed: 1, actor: "ada",
            createdAt: WireTime(Timestamp(milliseconds: 0)), etaMS: 65_000)
        #expect(BatchWatching.line(batch) == "night: running  3/10 ready  1 failed  2 running  eta 1:05")
        (batch.status, batch.running, batch.ready, batch.failed) = (.done, 0, 9, 1)
        batch.finishedAt = WireTime(Timestamp(milliseconds: 1))
        #expect(BatchWatching.line(batch) == "night: done  9/10 ready  1 failed")
        #expect(throws: CommandFailure.self) { try BatchWatching.requireReady(batch) }
    }
}
