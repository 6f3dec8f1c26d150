import ArgumentParser
import Foundation
import Simulation
import Synchronization

/// `simulate`: runs seeds, looks for mutations, tells a seed's story.
@main
struct SimulateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate",
        abstract: "Runs the engine, the plans and the agents' rules in simulated fleets, and checks that no rule of the design is broken.")

    @Option(help: "How many seeds to run.")
    var seeds: UInt64 = 2000

    @Option(help: "The first seed.")
    var first: UInt64 = 1

    @Option(help: "Break a rule on purpose: the name of a mutation, all, or none.")
    var mutation = "none"

    @Option(help: "Run this seed alone, twice, and tell its story.")
    var story: UInt64?

    @Option(help: "Seeds at the same time; as many as there are cores when not given.")
    var jobs = ProcessInfo.processInfo.activeProcessorCount

    func validate() throws {
        guard seeds > 0, jobs > 0 else { throw ValidationError("--seeds and --jobs are 1 or more.") }
        guard ["none", "all"].contains(mutation) || Mutation(rawValue: mutation) != nil else {
            throw ValidationError("--mutation is none, all, or one of \(Mutation.allCases.map(\.rawValue).joined(separator: ", ")).")
        }
    }

    func run() throws {
        try repeatHashes()
        Simulation.haveProcessAlone()
        if let story { return try tell(story) }
        switch mutation {
        case "none": try runSeeds()
        case "all": try findMutations(Mutation.allCases)
        default: try findMutations(Mutation(rawValue: mutation).map { [$0] } ?? [])
        }
    }

    /// Begins anew with hashes that are the same in every process: the order of a set's elements, which the product leaves to chance, is of the
    /// seed then.
    private func repeatHashes() throws {
        let name = "SWIFT_DETERMINISTIC_HASHING"
        guard ProcessInfo.processInfo.environment[name] == nil else { return }
        setenv(name, "1", 1)
        let words = CommandLine.arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        execv("/proc/self/exe", words)
        throw ValidationError("the simulation cannot be started with \(name)=1: \(String(cString: strerror(errno))). Set it yourself.")
    }

    private func tell(_ seed: UInt64) throws {
        let simulation = try Simulation()
        let broken = Mutation(rawValue: mutation)
        let told = try simulation.run(seed: seed, mutation: broken, keepsStory: true)
        for line in told.story { say(line) }
        let again = try simulation.run(seed: seed, mutation: broken)
        say(
            "seed \(seed): \(told.breach ?? "no rule was broken"); \(told.migrations) migrations, \(told.steps) steps, \(Int(told.seconds)) s"
        )
        guard again.fingerprint == told.fingerprint, (again.breach == nil) == (told.breach == nil) else {
            say("seed \(seed) does not replay to the same end: \(again.breach ?? "no rule was broken")")
            throw ExitCode.failure
        }
        if told.breach != nil { throw ExitCode.failure }
    }

    /// What several threads have found.
    private struct Sum {
        var next: UInt64
        var migrations = 0
        var moved = 0
        var steps = 0
        var breaches: [(seed: UInt64, text: String)] = []
        var fingerprint: UInt64 = 0
    }

    /// Runs seeds until all are run, or a mutation's first breach was found.
    private func run(_ broken: Mutation?, _ count: UInt64, stopsAtFirst: Bool) throws -> Sum {
        let end = first + count
        let sum = Mutex(Sum(next: first))
        let group = DispatchGroup()
        for _ in 0..<jobs {
            group.enter()
            let thread = Thread {
                defer { group.leave() }
                do {
                    let simulation = try Simulation()
                    while let seed = sum.withLock({ sum -> UInt64? in
                        guard sum.next < end, !stopsAtFirst || sum.breaches.isEmpty, sum.breaches.count < 20 else { return nil }
                        sum.next += 1
                        return sum.next - 1
                    }) {
                        let outcome = try simulation.run(seed: seed, mutation: broken)
                        sum.withLock { sum in
                            sum.migrations += outcome.migrations
                            sum.moved += outcome.moved
                            sum.steps += outcome.steps
                            sum.fingerprint ^= outcome.fingerprint
                            if let breach = outcome.breach { sum.breaches.append((seed, breach)) }
                        }
                    }
                } catch {
                    sum.withLock { $0.breaches.append((0, "the simulation itself failed: \(error)")) }
                }
            }
            thread.stackSize = 16 << 20
            thread.start()
        }
        group.wait()
        return sum.withLock { $0 }
    }

    private func runSeeds() throws {
        let (began, used) = (Date(), clock())
        let sum = try run(nil, seeds, stopsAtFirst: false)
        let seconds = Date().timeIntervalSince(began)
        for (seed, text) in sum.breaches.sorted(by: { $0.seed < $1.seed }) { say("seed \(seed): \(text)") }
        let processorSeconds = Double(clock() - used) / Double(CLOCKS_PER_SEC)
        say(
            "\(sum.next - first) seeds, \(sum.migrations) migrations (\(sum.moved) moved) and \(sum.steps) steps in \(Int(seconds)) s, "
                + "\(Int(processorSeconds)) s of processor: \(Int(Double(sum.migrations) / processorSeconds)) migrations a second and core; "
                + "fingerprint \(String(sum.fingerprint, radix: 16))")
        guard sum.breaches.isEmpty else {
            say("\(sum.breaches.count) seeds broke a rule. See one: simulate --story SEED")
            throw ExitCode.failure
        }
    }

    private func findMutations(_ mutations: [Mutation]) throws {
        var missed: [Mutation] = []
        for mutation in mutations {
            let began = Date()
            let sum = try run(mutation, seeds, stopsAtFirst: true)
            let seconds = Int(Date().timeIntervalSince(began))
            if let found = sum.breaches.min(by: { $0.seed < $1.seed }) {
                say("\(mutation.rawValue): found by seed \(found.seed) after \(sum.next - first) seeds and \(seconds) s: \(found.text)")
            } else {
                say("\(mutation.rawValue): NOT found in \(seeds) seeds and \(seconds) s")
                missed.append(mutation)
            }
        }
        guard missed.isEmpty else {
            say("not found: \(missed.map(\.rawValue).joined(separator: ", "))")
            throw ExitCode.failure
        }
        say("\(mutations.count) mutations, all found")
    }

    /// At once, also into a pipe: whoever ends this program early shall see what was found.
    private func say(_ line: String) { FileHandle.standardOutput.write(Data((line + "\n").utf8)) }
}
