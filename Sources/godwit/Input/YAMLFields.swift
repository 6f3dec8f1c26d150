import Fleet
import Yams

/// A mapping of a YAML file, read field by field; every complaint says file, line and key.
struct YAMLFields {
    private let file: String
    /// What the mapping describes: `server`, `disk`.
    private let subject: String
    private let pairs: [String: Node]
    private let line: Int

    /// - Throws: for what is no mapping, and for a key that is none of `known`.
    init(_ node: Node, subject: String, known: [String], file: String) throws(InputError) {
        self.file = file
        self.subject = subject
        self.line = node.mark?.line ?? 1
        guard let mapping = node.mapping else {
            throw InputError("\(file):\(line): a \(subject) must be written as “key: value” lines.")
        }
        var pairs: [String: Node] = [:]
        for (key, value) in mapping {
            let name = key.scalar?.string ?? ""
            guard known.contains(name) else {
                let line = key.mark?.line ?? self.line
                throw InputError("\(file):\(line): “\(name)” is no key of a \(subject); its keys are \(known.joined(separator: ", ")).")
            }
            pairs[name] = value
        }
        self.pairs = pairs
    }

    /// Reads the one document of a file.
    static func document(_ text: String, file: String) throws(InputError) -> Node {
        let node: Node?
        do {
            node = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw InputError(sentence(error, file: file))
        } catch {
            throw InputError("\(file) is no valid YAML: \(error).")
        }
        guard let node else { throw InputError("\(file) is empty.") }
        return node
    }

    private static func sentence(_ error: YamlError, file: String) -> String {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            "\(file):\(mark.line): this is no valid YAML: \(problem)."
        case .duplicatedKeysInMapping(let duplicates, let context):
            "\(file):\(context.mark.line): the key \(duplicates.map { "“\($0)”" }.joined(separator: ", ")) is given twice."
        case .reader(let problem, _, _, _):
            "\(file) is no valid YAML: \(problem)."
        default:
            "\(file) is no valid YAML."
        }
    }

    /// A complaint about a field.
    func complaint(_ key: String, _ what: String) -> InputError {
        InputError("\(file):\(pairs[key]?.mark?.line ?? line): \(what)")
    }

    /// Nil when the key is absent or null.
    func string(_ key: String) throws(InputError) -> String? {
        guard let node = pairs[key] else { return nil }
        guard let scalar = node.scalar else { throw complaint(key, "\(key) must be one value.") }
        if node.null != nil { return nil }
        guard !scalar.string.isEmpty else { throw complaint(key, "\(key) has no value.") }
        return scalar.string
    }

    /// A whole number of at least one.
    func count(_ key: String) throws(InputError) -> Int64? {
        guard let text = try string(key) else { return nil }
        guard let number = Int64(text), number >= 1 else { throw complaint(key, "\(key) “\(text)” must be a whole number of at least 1.") }
        return number
    }

    func choice<Choice: RawRepresentable & CaseIterable>(_ key: String, _ type: Choice.Type) throws(InputError) -> Choice?
    where Choice.RawValue == String {
        guard let text = try string(key) else { return nil }
        return try read(key) { () throws(InputError) in try Choices.parse(text, as: type, field: key) }
    }

    func hostPath(_ key: String) throws(InputError) -> String? {
        guard let text = try string(key) else { return nil }
        return try read(key) { () throws(InputError) in try Choices.hostPath(text, field: key) }
    }

    func fields(_ key: String, subject: String, known: [String]) throws(InputError) -> YAMLFields? {
        guard let node = pairs[key], node.null == nil else { return nil }
        return try YAMLFields(node, subject: subject, known: known, file: file)
    }

    func list(_ key: String, subject: String, known: [String]) throws(InputError) -> [YAMLFields]? {
        guard let node = pairs[key], node.null == nil else { return nil }
        guard let sequence = node.sequence else { throw complaint(key, "\(key) must be a list, each entry beginning with “- ”.") }
        var entries: [YAMLFields] = []
        for entry in sequence { entries.append(try YAMLFields(entry, subject: subject, known: known, file: file)) }
        return entries
    }

    func has(_ key: String) -> Bool { pairs[key] != nil }

    /// Puts file and line before what `body` complains of.
    func read<Value>(_ key: String, _ body: () throws(InputError) -> Value) throws(InputError) -> Value {
        do {
            return try body()
        } catch {
            throw complaint(key, error.message)
        }
    }
}
