import CSimulationLoop

/// Time, tasks and timers of one simulated world, all on the thread that runs it.
///
/// Tasks that are ready run one at a time, in an order that the seed draws. When none is ready time jumps to the next timer.
final class Loop: @unchecked Sendable {
    // Only the thread that runs the loop has to do with it: `CSimulationLoop` keeps every task that begins on it there.

    /// Microseconds since the world's beginning.
    private(set) var now: Int64 = 0
    var dice: Dice
    /// Tasks and timers that were run.
    private(set) var steps = 0
    private var timers = Heap()
    private var sleepers: [Int64: UnsafeContinuation<Void, Never>] = [:]
    private var tickets: Int64 = 0
    private var tasks = 0

    init(seed: UInt64) {
        dice = Dice(seed: seed)
    }

    // MARK: what happens later

    /// Has the body run after so many microseconds.
    func after(_ delay: Int64, _ body: @escaping () -> Void) {
        tickets += 1
        timers.push(Timer(at: now + max(0, delay), ticket: tickets, body: body))
    }

    /// Begins a task.
    func spawn(_ body: @escaping @Sendable () async -> Void) {
        tasks += 1
        Task {
            await body()
            self.tasks -= 1
        }
    }

    /// Throws `CancellationError` when the task is cancelled before.
    func sleep(_ delay: Int64) async throws {
        try Task.checkCancellation()
        let ticket = ticket()
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                guard !Task.isCancelled else { return continuation.resume() }
                sleepers[ticket] = continuation
                after(delay) { self.wake(ticket) }
            }
        } onCancel: {
            wake(ticket)
        }
        try Task.checkCancellation()
    }

    /// Sleeps whatever becomes of the task.
    func pause(_ delay: Int64) async {
        let ticket = ticket()
        await withUnsafeContinuation { continuation in
            sleepers[ticket] = continuation
            after(delay) { self.wake(ticket) }
        }
    }

    private func ticket() -> Int64 {
        tickets += 1
        return tickets
    }

    private func wake(_ ticket: Int64) { sleepers.removeValue(forKey: ticket)?.resume() }

    /// Waits until somebody answers, or the task is cancelled.
    func answer<Value: Sendable>(_ ask: (Answer<Value>) -> Void) async throws -> Value {
        let answer = Answer<Value>(self)
        ask(answer)
        while answer.value == nil {
            try Task.checkCancellation()
            let ticket = ticket()
            await withTaskCancellationHandler {
                await withUnsafeContinuation { continuation in
                    guard answer.value == nil, !Task.isCancelled else { return continuation.resume() }
                    sleepers[ticket] = continuation
                    answer.ticket = ticket
                }
            } onCancel: {
                wake(ticket)
            }
        }
        guard let value = answer.value else { throw CancellationError() }
        return try value.get()
    }

    final class Answer<Value: Sendable>: @unchecked Sendable {
        // Belongs to the loop's thread, as the loop does.
        fileprivate var value: Result<Value, any Error>?
        fileprivate var ticket: Int64?
        private let loop: Loop

        init(_ loop: Loop) {
            self.loop = loop
        }

        /// The first one counts.
        func give(_ value: Result<Value, any Error>) {
            guard self.value == nil else { return }
            self.value = value
            if let ticket { loop.wake(ticket) }
        }
    }

    // MARK: running

    /// Runs until the condition holds, or until nothing is left to happen.
    /// - Parameter onStep: Called after everything that happens.
    func run(until isOver: () -> Bool, onStep: () -> Void) {
        while !isOver() {
            let ready = simulation_loop_count()
            if ready > 0 {
                simulation_loop_run(UInt32(ready > 1 ? dice.below(Int(ready)) : 0))
            } else if let timer = timers.pop() {
                now = max(now, timer.at)
                timer.body()
            } else {
                return
            }
            steps += 1
            onStep()
        }
    }

    /// Drops what was to happen later.
    func forget() { timers = Heap() }

    /// Nothing runs and nothing is about to.
    var isIdle: Bool { tasks == 0 && simulation_loop_count() == 0 }
}

extension Loop {
    private struct Timer {
        var at: Int64
        var ticket: Int64
        var body: () -> Void
    }

    /// What is due first on top; of two at the same time, what was asked for first.
    private struct Heap {
        private var items: [Timer] = []

        private func isBefore(_ one: Int, _ other: Int) -> Bool {
            (items[one].at, items[one].ticket) < (items[other].at, items[other].ticket)
        }

        mutating func push(_ timer: Timer) {
            items.append(timer)
            var place = items.count - 1
            while place > 0, isBefore(place, (place - 1) / 2) {
                items.swapAt(place, (place - 1) / 2)
                place = (place - 1) / 2
            }
        }

        mutating func pop() -> Timer? {
            guard let last = items.popLast() else { return nil }
            guard let first = items.first else { return last }
            items[0] = last
            var place = 0
            while true {
                var least = place
                for child in [place * 2 + 1, place * 2 + 2] where child < items.count && isBefore(child, least) { least = child }
                if least == place { return first }
                items.swapAt(place, least)
                place = least
            }
        }
    }
}
