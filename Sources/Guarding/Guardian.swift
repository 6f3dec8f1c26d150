import AgentAPI
import Fleet
import Foundation
import Glibc
import Hypervisor
import Synchronization

/// The dead man's switch of a host: ends every marked guest when no controller has renewed the host's lease.
///
/// Why a controller that hears nothing of a host may then start its servers elsewhere, with nobody having been asked:
/// - It wrote each order's number in the store before the host heard of it, so that whoever sees the number unchanged for as long as a lease
///   lasts knows that every lease has ended at the host. By whose clock the store writes its times is of no matter.
/// - A lease once confirmed is not taken back but by a release, which the store knows of before the guard does. A guard that is told to end
///   outlives it, or ends the guests first.
/// - While the lease is over the guard holds the gate through which the agent starts guests, alone: a guest that the agent was about to start
///   at the last moment is there already when the guard looks, or is never started. An agent that does not let go of the gate is killed.
/// - A lease of before the host was started anew is over: nothing is started until there is a new one.
/// - Should the guard itself die, the watchdog ends the host; where there is none, the agent does the guard's work, some seconds later.
///
/// It needs the disk for none of this but to read, and neither network nor agent. One thread does it all, so that nothing can be in its way.
package final class Guardian {
    private let files: GuardFiles
    private let listener: GuardLink.Listener
    private let watchdog: Watchdog?
    private let isLeaving: () -> Bool
    private let log: (String) -> Void
    private var book: LeaseBook
    private var gate: Gate?
    /// Since when the lease has been over; nil while it is not.
    private var overSinceMS: Int64?
    /// No marked guest is left, and none can be started.
    private var isEnded = false
    private var lookedAtMS: Int64 = 0
    private var isLate = false
    private var lastTrouble: String?

    /// How long it sleeps at most.
    private static let intervalMS: Int64 = 250
    /// How often it looks for guests once none was left.
    private static let lookIntervalMS: Int64 = 1000
    /// How long the agent may hold the gate.
    private static let agentPatienceMS: Int64 = 4000

    /// Takes up what an earlier guard had confirmed.
    /// - Throws: ``AgentProblem``
    package init(_ files: GuardFiles, watchdog: Watchdog?, isLeaving: @escaping () -> Bool, log: @escaping (String) -> Void) throws {
        self.files = files
        self.watchdog = watchdog
        self.isLeaving = isLeaving
        self.log = log
        book = try files.readBook()
        listener = try GuardLink.Listener(files.socket)
    }

    /// Runs until it is told to end and nobody counts on it.
    package func run() throws {
        while true {
            let now = try BootClock.now()
            adoptNewer()
            if isLeaving() { endLeaseOfShutdown(now) }
            switch book.standing(at: now) {
            case .free:
                rest()
                if isLeaving() {
                    watchdog?.disarm()
                    return
                }
            case .held:
                rest()
            case .over:
                endGuests(now)
                if isEnded, isLeaving() {
                    watchdog?.disarm()
                    return
                }
            }
            if !isLate { watchdog?.feed() }
            var waitMS = Self.intervalMS
            if case .held(let left) = book.standing(at: now) { waitMS = min(waitMS, left) }
            if overSinceMS != nil, !isEnded { waitMS = 20 }
            listener.serve(withinMS: waitMS) {
                answer($0, bootID: now.bootID, isLeaving: isLeaving())
            } refuse: { why in
                log("a question is refused: \(why)")
                var report = answer(nil, bootID: now.bootID, isLeaving: isLeaving())
                report.refusal = why
                return report
            }
        }
    }

    /// Nothing is to be ended.
    private func rest() {
        if overSinceMS != nil { log("the lease is renewed or nobody counts on it: guests may be started again") }
        gate = nil
        overSinceMS = nil
        isEnded = false
        isLate = false
    }

    /// An agent that had no answer of a guard has written down that nobody counts on it.
    private func adoptNewer() {
        do {
            let written = try files.readBook(isRunning: true)
            if written.number > book.number { book = written }
        } catch {
            tell("\(error)")
        }
    }

    /// Told to end while the host is being shut down: the guests will not outlive that, and what is left of the lease is not waited for.
    private func endLeaseOfShutdown(_ now: BootTime) {
        guard case .held = book.standing(at: now) else { return }
        var ended = book
        ended.lease?.untilMS = now.milliseconds
        do {
            guard try files.isShuttingDown() else { return }
            try files.write(ended, over: book, writer: "guard")
            book = ended
        } catch {
            tell("\(error)")
        }
    }

    /// What would be told again and again is told once.
    private func tell(_ trouble: String) {
        if trouble != lastTrouble { log(trouble) }
        lastTrouble = trouble
    }

    private func answer(_ order: GuardOrder?, bootID: String, isLeaving: Bool) -> GuardReport {
        let state: GuardReport.State = isLeaving ? .leaving : .serving
        let now = BootTime(bootID: bootID, milliseconds: BootClock.milliseconds)
        // An order that waited while this process stood still may be older than what the agent has written meanwhile.
        adoptNewer()
        guard let order else { return book.report(state, at: now, hasWatchdog: watchdog != nil) }
        var next = book
        var refusal = next.obey(order, at: now, isLeaving: isLeaving)
        do {
            if next != book { try files.write(next, over: book, writer: "guard") }
            if next.lease == nil || book.lease == nil, next.lease != book.lease {
                log(next.lease == nil ? "nobody counts on the guests' end any more" : "the guests' end is counted on from now on")
            }
            book = next
        } catch {
            refusal = "\(error)"
        }
        return book.report(state, at: now, hasWatchdog: watchdog != nil, refusal: refusal)
    }

    /// One round of ending.
    private func endGuests(_ now: BootTime) {
        let since = overSinceMS ?? now.milliseconds
        if overSinceMS == nil {
            overSinceMS = since
            log("the lease is over: marked guests are ended, and none is started until it is renewed")
        }
        let lastMS = now.milliseconds - since
        if isEnded, now.milliseconds - lookedAtMS < Self.lookIntervalMS { return }
        lookedAtMS = now.milliseconds
        do {
            try takeGate(lastMS)
        } catch {
            // Guests are ended all the same.
            tell("the gate cannot be taken: \(error)")
        }
        do {
            // Looked for only once the gate is held: then there is none that this does not see.
            let hadGate = gate != nil
            let (ended, untold, areGone) = try MarkedGuests.end(files, withinMS: 1000)
            for server in ended.sorted(by: { $0.value < $1.value }) { log("ended the guest of server \(server)") }
            if let untold { log(untold.reason.message) }
            let wasEnded = isEnded
            isEnded = hadGate && areGone
            if isEnded, !wasEnded { log("no marked guest is left, \(BootClock.milliseconds - since) ms after the lease was over") }
        } catch {
            isEnded = false
            tell("guests cannot be ended: \(error)")
        }
        // A host that does not get there in time must not live on.
        if !isEnded, lastMS > GuardTiming.endWithinMS - 1000, !isLate {
            isLate = true
            log(watchdog == nil ? "guests are not ended in time" : "guests are not ended in time: the watchdog is fed no more")
        }
    }

    /// Has nobody start a guest any more. An agent that is about to start one may be killed at any time, and is not waited for long.
    private func takeGate(_ lastMS: Int64) throws {
        if gate == nil { gate = try Gate.take(files.gate, isAlone: true) }
        guard gate == nil, lastMS > Self.agentPatienceMS, let agent = try KernelProcess.find(agentFile: files.agent) else { return }
        log("the agent (pid \(agent.pid)) does not let go of the gate, and is killed")
        try agent.signal(SIGKILL)
    }
}
