import AgentAPI
import Attempts
import Fleet

/// A host: what is on its disk, which outlives everything, the QEMUs on it, and the agent that is there now.
final class SimulatedHost: @unchecked Sendable {
    // Belongs to the world's thread.

    let name: String
    unowned let world: World
    var id = HostID("")
    /// Power is on.
    var isOn = true
    /// The store says that it is offline.
    var isOffline = false
    /// What agents wrote down, in the product's own form.
    var records: [ServerID: GuestRecord] = [:]
    /// The life that local disks hold of a server; negative while they are not whole.
    var content: [ServerID: Int64] = [:]
    /// Bytes that a cold copy has brought here.
    var copied: [ServerID: Int64] = [:]
    var machines: [ServerID: Machine] = [:]
    var agent: SimulatedAgent?
    private(set) var agents = 0

    init(name: String, world: World) {
        self.name = name
        self.world = world
    }

    func machine(_ server: ServerID) -> Machine? { machines[server].flatMap { $0.isAlive ? $0 : nil } }

    func launch(_ server: ServerID, life: Int64) -> Machine {
        machines[server]?.end()
        world.machineCount += 1
        let machine = Machine(number: world.machineCount, server: server, host: self, life: life)
        machines[server] = machine
        return machine
    }

    /// Something changed that drivers wait for.
    func wake(_ server: ServerID) { agent?.wake(server) }

    func startAgent() {
        guard isOn, agent == nil else { return }
        agents += 1
        world.tell("the agent of \(name) starts")
        let started = SimulatedAgent(host: self, number: agents)
        agent = started
        started.restore()
    }

    /// The agent's process dies; QEMUs run on.
    /// - Parameter soon: The next one is there before anybody has waited for it.
    func crashAgent(soon: Bool = false) {
        guard let dying = agent else { return }
        agent = nil
        world.tell("the agent of \(name) dies")
        dying.die()
        guard isOn else { return }
        let time: ClosedRange<Int64> = soon ? 20_000...400_000 : 200_000...(world.dice.hits(1500) ? 90_000_000 : 4_000_000)
        world.loop.after(world.dice.within(time)) { [self] in startAgent() }
    }

    /// Power fails and comes back after a while.
    func crash(for time: Int64) {
        guard isOn else { return }
        world.tell("power of \(name) fails")
        isOn = false
        crashAgent()
        for (server, machine) in machines.sorted(by: { $0.key.value < $1.key.value }) where machine.isAlive {
            if machine.isRunning || records[server]?.tenure == .home { world.server(server).mayBeOff = true }
            if !machine.isIncoming { world.server(server).mayBeOff = true }
            if machine.isIncoming, machine.received == .completed { world.server(server).mayBeOff = true }
            machine.end()
        }
        machines = [:]
        world.loop.after(time) { [self] in
            isOn = true
            world.tell("power of \(name) is back")
            startAgent()
        }
    }
}
