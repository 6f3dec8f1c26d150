import Failpoints
import Testing

@Suite
struct CatalogTests {
    @Test func `every name is there once and is found by itself`() throws {
        let names = Failpoint.all.map(\.name)
        #expect(Set(names).count == names.count)
        for name in names { #expect(try Failpoint(named: name).name == name) }
    }

    @Test func `a command that asks is no failure point, one that changes something is`() {
        #expect(Failpoint.qmp("query-migrate", .before) == nil)
        #expect(Failpoint.qmp("qmp_capabilities", .after) == nil)
        #expect(Failpoint.qmp("migrate-continue", .after)?.name == "agent.qmp.migrate-continue.after")
    }

    @Test(arguments: ["", "agent.qmp.cont", "agent.qmp.cont.later", "worker.live.place.begun "])
    func `a name that is none is refused`(_ name: String) {
        #expect(throws: UnknownFailpoint.self) { try Failpoint(named: name) }
    }

    @Test func `actions are read, and what is none is refused`() throws {
        #expect(try FailpointAction("fail") == .fail)
        #expect(try FailpointAction("kill") == .kill)
        #expect(try FailpointAction("hold") == .hold)
        #expect(try FailpointAction("delay:250") == .delay(250))
        for text in ["", "delay", "delay:", "delay:-1", "delay:1:2", "kill:9", "hang"] {
            #expect(throws: UnknownFailpointAction.self, "\(text)") { try FailpointAction(text) }
        }
    }
}
