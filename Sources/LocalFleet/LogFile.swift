import Foundation

/// The log of one process of a `godwit dev`.
struct LogFile: Sendable {
    let path: String

    /// Begins a new log and keeps the one before as `….1`.
    func rotate() throws {
        let files = FileManager.default
        guard files.fileExists(atPath: path) else { return }
        if files.fileExists(atPath: path + ".1") { try files.removeItem(atPath: path + ".1") }
        try files.moveItem(atPath: path, toPath: path + ".1")
    }

    var size: UInt64 {
        ((try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? NSNumber)?.uint64Value ?? 0
    }

    /// What was written from `offset` on.
    func text(from offset: UInt64) -> String {
        guard let file = FileHandle(forReadingAtPath: path) else { return "" }
        defer { try? file.close() }
        do {
            try file.seek(toOffset: offset)
            return String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
        } catch {
            return ""
        }
    }

    func lastLines(_ count: Int, from offset: UInt64) -> [String] {
        text(from: offset).split(separator: "\n").suffix(count).map(String.init)
    }

    /// Whether a line says `ready NAME`.
    static func isReady(_ text: String) -> Bool {
        text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().contains { $0.hasPrefix("ready ") }
    }

    /// The address in a line `listening https://127.0.0.1:1234`.
    static func listeningAddress(in text: String) -> String? {
        // Only whole lines: the last may be in the middle of being written.
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            guard let word = line.firstRange(of: "listening ") else { continue }
            let address = line[word.upperBound...].prefix { !$0.isWhitespace }
            if address.hasPrefix("https://") { return String(address) }
        }
        return nil
    }
}
