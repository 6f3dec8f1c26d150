import Synchronization

/// Work that outlives the order that began it, and not the agent.
final class Errands: Sendable {
    private struct State {
        var tasks: [Int: Task<Void, Never>] = [:]
        var begun = 0
        var isEnded = false
    }

    private let state = Mutex(State())

    /// Does nothing once ``end()`` was called.
    func begin(_ work: @escaping @Sendable () async -> Void) {
        state.withLock { state in
            guard !state.isEnded else { return }
            let number = state.begun
            state.begun += 1
            // It cannot end, and so remove itself, before this lock is let go.
            state.tasks[number] = Task { [weak self] in
                await work()
                self?.state.withLock { $0.tasks[number] = nil }
            }
        }
    }

    /// Cancels what is under way and waits for it.
    func end() async {
        let tasks = state.withLock { state in
            state.isEnded = true
            return Array(state.tasks.values)
        }
        for task in tasks { task.cancel() }
        for task in tasks { await task.value }
    }
}
