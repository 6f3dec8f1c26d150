import Testing

@testable import Failpoints

@Suite
struct OrderTests {
    @Test func `each order is taken once`() throws {
        var orders = try FailpointOrders("worker.live.place.begun=kill; agent.qmp.cont.before=delay:5")
        let point = try Failpoint(named: "agent.qmp.cont.before")
        #expect(orders.take(try Failpoint(named: "agent.qmp.cont.after")) == nil)
        #expect(orders.take(point) == .delay(5))
        #expect(orders.take(point) == nil)
        #expect(orders.take(try Failpoint(named: "worker.live.place.begun")) == .kill)
    }

    @Test(arguments: ["nowhere=kill", "agent.qmp.cont.before", "agent.qmp.cont.before=", "agent.qmp.cont.before=jump"])
    func `an order that is not understood is refused`(_ text: String) {
        #expect(throws: (any Error).self) { try FailpointOrders(text) }
    }
}
