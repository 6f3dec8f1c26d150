import Foundation
import Output

/// The servers of a batch as a file lists them: an id or a name a line; blank lines and what follows a `#` say nothing.
struct BatchLines: Equatable {
    let servers: [String]
    /// The line of each, from 1 on.
    let numbers: [Int]

    init(_ text: String) {
        var (servers, numbers): ([String], [Int]) = ([], [])
        // A mark of the byte order, which some editors put first, is no part of a name.
        let text = text.unicodeScalars.first == "\u{FEFF}" ? String(text.unicodeScalars.dropFirst()) : text
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let word = line.prefix { $0 != "#" }.trimmingCharacters(in: .whitespaces.union(.newlines))
            guard !word.isEmpty else { continue }
            servers.append(word)
            numbers.append(index + 1)
        }
        self.servers = servers
        self.numbers = numbers
    }

    /// - Parameter path: `-` is standard input.
    /// - Throws: ``CommandFailure`` for a file that cannot be read, or lists nobody.
    static func read(_ path: String) throws(CommandFailure) -> BatchLines {
        let data: Data
        do {
            // Read to its end whatever it is: `Data(contentsOf:)` takes no pipe such as that of a shell's `<(…)`.
            let file = path == "-" ? FileHandle.standardInput : try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            data = try file.readToEnd() ?? Data()
        } catch {
            throw CommandFailure.usage("The file \(path) cannot be read: give one that lists an id or a name of a server a line, or -.")
        }
        guard let text = String(data: data, encoding: .utf8) else {
            throw CommandFailure.usage("The file \(path) is no text in UTF-8; it must list an id or a name of a server a line.")
        }
        let lines = BatchLines(text)
        guard !lines.servers.isEmpty else {
            throw CommandFailure.usage(
                "\(path == "-" ? "Standard input" : "The file \(path)") lists no server; write an id or a name a line.")
        }
        return lines
    }
}
