#if DEBUG
    import Glibc
#endif

/// Failure points as code reaches them: in debug builds they do what was ordered, in others they are nothing.
package enum Failpoints {
    /// Whether this build has them.
    package static var areBuiltIn: Bool {
        #if DEBUG
            true
        #else
            false
        #endif
    }

    /// - Throws: ``FailpointFailure``, where that was ordered.
    package static func reach(_ point: Failpoint?) async throws {
        #if DEBUG
            guard let point, let action = try ordered(at: point) else { return }
            var left = try begin(action, point)
            while left > 0, !(action == .hold && !isHeld(point)) {
                try await Task.sleep(for: .milliseconds(pause))
                left -= pause
            }
        #endif
    }

    /// The same on a thread that may block.
    ///
    /// - Throws: ``FailpointFailure``, where that was ordered.
    package static func reachBlocking(_ point: Failpoint?) throws {
        #if DEBUG
            guard let point, let action = try ordered(at: point) else { return }
            var left = try begin(action, point)
            while left > 0, !(action == .hold && !isHeld(point)) {
                usleep(UInt32(pause) * 1000)
                left -= pause
            }
        #endif
    }

    #if DEBUG
        /// Milliseconds between two looks at whether a hold is over, which a file tells.
        private static let pause: Int64 = 10
        /// Milliseconds after which a hold ends by itself, so that nothing waits for a driver that died.
        private static let longestHold: Int64 = 60_000

        private static let folder: FailpointFolder? = environment("GODWIT_FAILPOINTS_FOLDER").map { FailpointFolder(path: $0) }

        private static let book: FailpointBook? = environment("GODWIT_FAILPOINTS").map { text in
            do {
                return try FailpointBook(text)
            } catch {
                // A point that is never reached because of a typing error would look like a success.
                fatalError("GODWIT_FAILPOINTS: \(error)")
            }
        }

        private static func environment(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

        private static func ordered(at point: Failpoint) throws -> FailpointAction? {
            try book?.take(point) ?? folder?.take(point)
        }

        /// Returns for how many milliseconds to wait.
        private static func begin(_ action: FailpointAction, _ point: Failpoint) throws -> Int64 {
            switch action {
            case .fail: throw FailpointFailure(point: point)
            case .kill:
                kill(getpid(), SIGKILL)
                return longestHold
            case .delay(let milliseconds): return milliseconds
            case .hold:
                folder?.beginHold(point)
                return longestHold
            }
        }

        private static func isHeld(_ point: Failpoint) -> Bool { folder?.isHeld(point) ?? false }
    #endif
}
