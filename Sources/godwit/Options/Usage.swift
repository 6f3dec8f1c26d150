import ArgumentParser

/// Usage lines in climc's way: every flag by its name, broken where a terminal ends.
enum Usage {
    /// Flags that every list takes.
    static let list = ["--limit N", "--offset N", "--order-by FIELD", "--order asc|desc", "--field FIELD", "--filter FILTER"]

    /// - Parameters:
    ///   - flags: Each with the name of its value.
    ///   - arguments: What stands after them.
    static func line(_ command: String, _ flags: [String], _ arguments: String...) -> String {
        let words = ["\(Godwit.program) \(command)"] + flags.map { "[\($0)]" } + arguments
        var lines: [String] = []
        var line = ""
        for word in words {
            // Every line stands as far to the right as "USAGE: " is wide, those after the first by two columns more.
            if line.isEmpty || line.count + 1 + word.count <= 70 {
                line += line.isEmpty ? word : " \(word)"
            } else {
                lines.append(line)
                line = word
            }
        }
        return (lines + [line]).joined(separator: "\n  ")
    }
}
