import CLibPQ
import SQL

/// What one session has prepared, by the statement's text. The ones not used for longest go first.
struct StatementCache {
    struct Entry {
        var name: String
        var types: [Oid]
        var lastUse: UInt64
    }

    /// Statements with more values than these are lists of one length or another, which seldom come again.
    private static let mostValues = 64
    private static let capacity = 200

    /// What the session's names begin with. No other session has the same: behind a pooler one's statements can be left in a session of
    /// the server that another is then given, and must not be taken for that one's.
    let prefix: String

    private var entries: [String: Entry] = [:]
    private var uses: UInt64 = 0
    private var names: UInt64 = 0

    init(prefix: String) {
        self.prefix = prefix
    }

    /// What to send for a statement; to be shown to ``keep(_:_:)`` with what was answered.
    mutating func commands(for sql: String, _ values: [SQLValue]) -> [Command] {
        guard values.count <= Self.mostValues else { return [.plain(sql: sql, values: values)] }
        uses += 1
        if let entry = entries[sql], zip(entry.types, values).allSatisfy({ $1 == .null || $0 == $1.type }) {
            entries[sql]?.lastUse = uses
            return [.execute(name: entry.name, values: values)]
        }
        var commands: [Command] = []
        // The types of earlier values stand where this one is null, so that it is prepared anew only while more becomes known.
        var types = values.map(\.type)
        if let old = entries.removeValue(forKey: sql) {
            for (index, type) in old.types.enumerated() where types[index] == 0 { types[index] = type }
            commands.append(.plain(sql: "DEALLOCATE \(old.name)", values: []))
        } else if entries.count >= Self.capacity, let oldest = entries.min(by: { $0.value.lastUse < $1.value.lastUse }) {
            entries[oldest.key] = nil
            commands.append(.plain(sql: "DEALLOCATE \(oldest.value.name)", values: []))
        }
        names += 1
        let name = "\(prefix)_\(names)"
        return commands + [.prepare(name: name, sql: sql, types: types), .execute(name: name, values: values)]
    }

    /// Remembers what the server has taken.
    mutating func keep(_ commands: [Command], _ replies: [Reply]) {
        for (command, reply) in zip(commands, replies) {
            guard case .prepare(let name, let sql, let types) = command, case .done = reply else { continue }
            entries[sql] = Entry(name: name, types: types, lastUse: uses)
        }
    }
}
