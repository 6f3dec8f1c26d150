import ArgumentParser
import Client
import Fleet
import Foundation
import Testing

@testable import Output
@testable import godwit

@Suite struct ListTests {
    private func server(_ name: String, _ status: ShownStatus = .running, vcpus: Int = 1, host: String = "host1") -> ServerView {
        ServerView(
            id: "id-\(name)", name: name, status: status, host: Named(id: "h-\(host)", name: host), vcpus: vcpus, memoryMB: 512,
            cpuModel: "qemu64-v1", machine: "pc-i440fx-7.2", accelerator: .tcg, firmware: .bios,
            disks: [DiskView(name: "disk0", sizeBytes: 10 << 30, format: .qcow2, bus: .virtioBlk, storage: "local")],
            nics: [NICView(name: "nic0", network: "lan", mac: "a"), NICView(name: "nic1", network: "backup", mac: "b")], epoch: 1,
            createdAt: WireTime(Timestamp(milliseconds: 0)))
    }

    private var servers: [ServerView] {
        [server("vm10", .ready, vcpus: 10), server("vm2", vcpus: 2, host: "host2"), server("web", .running, vcpus: 4)]
    }

    private func names(_ query: ListQuery) throws -> [String] { try ListSelection(query).page(of: servers).items.map(\.name) }

    @Test(arguments: [
        ("status.equals(running)", ["vm2", "web"]), ("status=running", ["vm2", "web"]), ("STATUS=Running", ["vm2", "web"]),
        ("status!=running", ["vm10"]), ("status.notequals(running)", ["vm10"]), ("name.contains(vm)", ["vm10", "vm2"]),
        ("name.in(web,vm2)", ["vm2", "web"]), ("name.in('web', \"vm2\")", ["vm2", "web"]), ("name.notin(web,vm2)", ["vm10"]),
        ("name.startswith(we)", ["web"]), ("name.endswith(0)", ["vm10"]), ("vcpu_count.gt(2)", ["vm10", "web"]),
        ("vcpus.ge(4)", ["vm10", "web"]), ("vcpu_count.lt(10)", ["vm2", "web"]), ("vcpu_count.le(2)", ["vm2"]),
        ("vcpu_count.between(3,9)", ["web"]), ("note.isnull()", ["vm10", "vm2", "web"]), ("note.isnotnull()", []),
        ("networks=backup", ["vm10", "vm2", "web"]), ("networks.contains(nothing)", []), ("host=host2", ["vm2"]), ("name=", []),
    ]) func `filters let pass what they say`(filter: String, names: [String]) throws {
        #expect(try self.names(ListQuery(filters: [filter])) == names)
    }

    @Test func `several filters must all hold, or one of them`() throws {
        let filters = ["status=running", "vcpu_count.gt(3)"]
        #expect(try names(ListQuery(filters: filters)) == ["web"])
        #expect(try names(ListQuery(filters: filters, filterAny: true)) == ["vm10", "vm2", "web"])
    }

    @Test func `numbers are ordered by size, text without regard to case, and equal ones stay`() throws {
        #expect(try names(ListQuery(orderBy: ["vcpu_count"])) == ["vm2", "web", "vm10"])
        #expect(try names(ListQuery(orderBy: ["vcpu_count"], order: .desc)) == ["vm10", "web", "vm2"])
        #expect(try names(ListQuery(orderBy: ["status", "NAME"])) == ["vm10", "vm2", "web"])
        #expect(try names(ListQuery(orderBy: ["status"], order: .desc)) == ["vm2", "web", "vm10"])
        #expect(try names(ListQuery()) == ["vm10", "vm2", "web"])
    }

    @Test func `pages are cut out of what passes, whose number is told`() throws {
        let page = try ListSelection<ServerView>(ListQuery(limit: 1, offset: 1, filters: ["status=running"])).page(of: servers)
        #expect(page.items.map(\.name) == ["web"])
        #expect(page.total == 2)
        #expect(try names(ListQuery(offset: 9)).isEmpty)
    }

    @Test func `chosen fields are columns, and keys of JSON`() throws {
        let options = try ListOptions.parse(["--field", "name,VCPUS", "--field", "note", "--field", "Networks"])
        let chosen = try options.chosen(of: ServerView.self)
        let table = ServerTables.columns.table([server("vm1")], chosen: chosen)
        #expect(table.columns.map(\.name) == ["Name", "vcpu_count", "Networks"], "a column without a value is left out")
        #expect(table.columns.map(\.cells) == [["vm1"], ["1"], ["lan,backup"]])
    }

    @Test func `columns are climc's, and more of them with details`() throws {
        let usual = ServerTables.columns.table([server("vm1")])
        #expect(usual.columns.map(\.name) == ["ID", "Name", "Status", "vcpu_count", "vmem_size", "Disk", "Host", "Hypervisor"])
        let details = ServerTables.columns.table([server("vm1")], details: true)
        #expect(details.columns.map(\.name).starts(with: usual.columns.map(\.name)) && details.columns.count > usual.columns.count)
        let host = HostView(
            id: "h1", name: "host1", condition: .running, status: .online, enabled: true, agentURL: "https://10.0.0.1:7070", cpus: 4,
            guests: 2, runningGuests: 1)
        let hosts = HostTables.columns.table([host])
        #expect(
            hosts.columns.prefix(8).map(\.name)
                == ["ID", "Name", "Access_ip", "Status", "enabled", "host_status", "Guests", "Running_guests"])
        #expect(
            hosts.columns.prefix(8).map { $0.cells[0] } == ["h1", "host1", "10.0.0.1", "running", "true", "online", "2", "1"])
    }

    /// A name that is misspelt in a list of columns would only be missing from the table.
    @Test func `every column is a field`() {
        func check<Item>(_ columns: Columns<Item>) {
            let names = Item.fields.map(\.name)
            for name in columns.usual + columns.details { #expect(names.contains(name), "\(name)") }
            for name in columns.cells.keys { #expect((columns.usual + columns.details).contains(name), "\(name)") }
            #expect(Set(names.map { $0.lowercased() }).count == names.count)
        }
        check(ServerTables.columns)
        check(HostTables.columns)
        check(MigrationTables.columns)
    }
}

@Suite struct BatchTests {
    private func view(_ name: String, _ state: MigrationState = .pending) -> MigrationView {
        MigrationView(
            id: "m-\(name)", server: Named(id: "s", name: name), mode: .live, state: state, direction: .forward, attempt: 0, maxAttempts: 3,
            sourceHost: Named(id: "h1", name: "host1"), actor: "a", createdAt: WireTime(Timestamp(milliseconds: 0)))
    }

    @Test func `what was done and what was not are two tables, and one failure is the command's`() async throws {
        let view = view("vm1")
        let results = try await BatchResult<MigrationView>.all(["vm2", "vm1"]) { id in
            if id == "vm1" { return view }
            throw ClientError(Problem(status: 404, code: "not-found", title: "Not found", detail: "There is no server vm2."))
        }
        let text = BatchResult.tables(results) { MigrationTables.columns.table($0).text }
        let lines = text.split(separator: "\n").map(String.init)
        #expect(lines.contains { $0.contains("m-vm1") && $0.contains("pending") })
        #expect(lines.contains("| status | id  |          error          |"))
        #expect(lines.contains("| 404    | vm2 | There is no server vm2. |"))
        #expect(lines.filter { $0 == "***  Total: 1  ***" }.count == 2)
        let failure = #expect(throws: CommandFailure.self) { try BatchResult.requireSuccess(results) }
        #expect(failure == .failed("1 of 2 failed: vm2."))
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(results)) as? [[String: Any]]
        #expect(object?.map { $0["status"] as? Int } == [404, 200])
        #expect(object?.first?["error"] as? String == "There is no server vm2.")
        #expect((object?.last?["data"] as? [String: Any])?["id"] as? String == "m-vm1")
    }

    @Test func `all done is one table and no failure`() async throws {
        let view = view("vm1")
        let results = try await BatchResult<MigrationView>.all(["a", "b"]) { _ in view }
        #expect(!BatchResult.tables(results) { MigrationTables.columns.table($0).text }.contains("error"))
        try BatchResult.requireSuccess(results)
    }
}
