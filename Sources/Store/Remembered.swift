import Synchronization

/// Values by the text that they were read from, for what is read far more often than it changes. Forgets everything once it holds too much.
final class Remembered<Value: Sendable>: Sendable {
    private struct Memory {
        var values: [String: Value] = [:]
        var bytes = 0
    }

    private let memory = Mutex(Memory())
    private let bytesAtMost: Int

    /// - Parameter bytesAtMost: of text.
    init(bytesAtMost: Int) {
        self.bytesAtMost = bytesAtMost
    }

    func value(of text: String, _ read: (String) throws -> Value) rethrows -> Value {
        if let known = memory.withLock({ $0.values[text] }) { return known }
        let value = try read(text)
        memory.withLock { memory in
            if memory.bytes > bytesAtMost { memory = Memory() }
            if memory.values.updateValue(value, forKey: text) == nil { memory.bytes += text.utf8.count }
        }
        return value
    }
}
