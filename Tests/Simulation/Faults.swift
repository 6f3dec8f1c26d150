/// What goes wrong in a world, drawn from its seed: some worlds are calm, some are rough. Chances in 10,000, times in microseconds.
struct Faults {
    /// At every await of a process of the control plane.
    var workerCrashes = 0
    /// Before and after every write and effect of an agent.
    var agentCrashes = 0
    /// Of orders, and of answers.
    var losses = 0
    var duplicates = 0
    /// Of orders that the network holds up, with all that comes after them on that way, and brings when they are not expected any more.
    var heldOrders = 0
    /// Of writes that are on their way to the store for longer than a lease, whatever becomes of who sent them.
    var heldWrites = 0
    /// Of moments at which much hangs on what comes next: see ``World/Moment``.
    var moments = 0
    /// Of the answers to commits.
    var lostCommits = 0
    var networkStall: Int64 = 20_000
    var storeStall: Int64 = 20_000
    /// How many of each happen until all is healed.
    var cuts = 0
    var powerFailures = 0
    var storeOutages = 0
    /// Of a migration.
    var cancellations = 0
    /// When all is healed.
    var healAt: Int64 = 30_000_000

    init(_ dice: inout Dice) {
        func some(_ dice: inout Dice, _ levels: [Int]) -> Int { levels[dice.below(levels.count)] }
        workerCrashes = some(&dice, [0, 0, 5, 20, 60])
        agentCrashes = some(&dice, [0, 0, 20, 80, 300])
        losses = some(&dice, [0, 0, 50, 300, 1000])
        duplicates = some(&dice, [0, 50, 300, 1000])
        lostCommits = some(&dice, [0, 0, 50, 300])
        networkStall = Int64(some(&dice, [20_000, 500_000, 5_000_000, 20_000_000]))
        storeStall = Int64(some(&dice, [20_000, 500_000, 5_000_000, 20_000_000]))
        cuts = some(&dice, [0, 0, 2, 6, 12])
        powerFailures = some(&dice, [0, 0, 0, 1, 2])
        storeOutages = some(&dice, [0, 0, 1, 3])
        cancellations = some(&dice, [0, 500, 2500])
        heldOrders = some(&dice, [0, 50, 200, 600])
        heldWrites = some(&dice, [0, 0, 20, 80])
        moments = some(&dice, [0, 500, 2000, 5000])
        healAt = dice.within(15_000_000...45_000_000)
    }
}
