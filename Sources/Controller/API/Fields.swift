import Client
import Foundation

/// The fields of one JSON object of a request, taken one by one; what is left at the end is unknown and refused.
///
/// `null` counts as left out. Every refusal is a ``Problem`` `invalid-request` with the field's path.
struct Fields {
    private var values: [String: JSONValue]
    private var known: [String] = []
    /// Of this object within the body: empty, or `disks[1]`.
    private let path: String

    /// - Parameter body: The whole body; an empty one counts as `{}`.
    init(body: Data) throws {
        var value = JSONValue.object([:])
        if !body.isEmpty {
            do {
                value = try JSONDecoder().decode(JSONValue.self, from: body)
            } catch {
                throw Problem.invalid(nil, "The body is not valid JSON; send one JSON object.")
            }
        }
        try self.init(value, path: "")
    }

    private init(_ value: JSONValue, path: String) throws {
        guard case .object(let values) = value else {
            let subject = path.isEmpty ? "The body" : path
            throw Problem.invalid(path.isEmpty ? nil : path, "\(subject) must be an object with named fields, not \(value.kind).")
        }
        self.values = values
        self.path = path
    }

    /// The path of a field of this object.
    func path(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    private mutating func take(_ name: String) -> JSONValue? {
        known.append(name)
        guard let value = values.removeValue(forKey: name), value != .null else { return nil }
        return value
    }

    /// - Parameter mayBeEmpty: An empty one is nil then, and else refused.
    mutating func string(_ name: String, mayBeEmpty: Bool = false) throws -> String? {
        guard let value = take(name) else { return nil }
        guard case .string(let text) = value else { throw mismatch(name, "a text", value) }
        if text.isEmpty, mayBeEmpty { return nil }
        guard !text.isEmpty, !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
            throw Problem.invalid(path(name), "\(path(name)) must not be empty or hold control characters; leave it out for the default.")
        }
        return text
    }

    mutating func requiredString(_ name: String, _ example: String) throws -> String {
        guard let text = try string(name) else {
            throw Problem.invalid(path(name), "\(path(name)) is missing; give it, such as “\(example)”.")
        }
        return text
    }

    /// A path on a host.
    mutating func hostPath(_ name: String) throws -> String? {
        guard let text = try string(name) else { return nil }
        guard text.hasPrefix("/") else {
            throw Problem.invalid(path(name), "\(path(name)) is “\(text)”; it must be an absolute path on the host.")
        }
        return text
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int64>, unit: String) throws -> Int64? {
        guard let value = take(name) else { return nil }
        guard case .integer(let number) = value else { throw mismatch(name, "a whole number", value) }
        guard range.contains(number) else {
            let bounds =
                range.upperBound == .max ? "at least \(range.lowerBound)" : "between \(range.lowerBound) and \(range.upperBound)"
            throw Problem.invalid(path(name), "\(path(name)) is \(number); it must be \(bounds) \(unit).")
        }
        return number
    }

    /// Whole or not.
    mutating func number(_ name: String, in range: ClosedRange<Double>, unit: String) throws -> Double? {
        guard let value = take(name) else { return nil }
        let number: Double
        switch value {
        case .integer(let whole): number = Double(whole)
        case .number(let real): number = real
        default: throw mismatch(name, "a number", value)
        }
        guard range.contains(number) else {
            throw Problem.invalid(
                path(name), "\(path(name)) is \(number); it must be between \(range.lowerBound) and \(range.upperBound) \(unit).")
        }
        return number
    }

    mutating func boolean(_ name: String) throws -> Bool? {
        guard let value = take(name) else { return nil }
        guard case .boolean(let flag) = value else { throw mismatch(name, "true or false", value) }
        return flag
    }

    mutating func choice<Choice: RawRepresentable & CaseIterable>(_ name: String, _: Choice.Type) throws -> Choice?
    where Choice.RawValue == String {
        guard let text = try string(name) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem.invalid(path(name), "\(path(name)) is “\(text)”; it must be one of \(all).")
        }
        return choice
    }

    /// Reads a nested object with `read`, which must take all of its fields.
    mutating func object<T>(_ name: String, _ read: (inout Fields) throws -> T) throws -> T? {
        guard let value = take(name) else { return nil }
        var fields = try Fields(value, path: path(name))
        let result = try read(&fields)
        try fields.finish()
        return result
    }

    /// Reads a list of objects, at most `limit`, each with `read`.
    mutating func objects<T>(_ name: String, limit: Int, _ read: (inout Fields) throws -> T) throws -> [T] {
        guard let value = take(name) else { return [] }
        guard case .list(let items) = value else { throw mismatch(name, "a list", value) }
        guard items.count <= limit else {
            throw Problem.invalid(path(name), "\(path(name)) has \(items.count) entries; there may be at most \(limit).")
        }
        return try items.enumerated().map { index, item in
            var fields = try Fields(item, path: "\(path(name))[\(index)]")
            let result = try read(&fields)
            try fields.finish()
            return result
        }
    }

    /// A list of texts, at most `limit`, none empty; nil when left out.
    mutating func strings(_ name: String, limit: Int) throws -> [String]? {
        guard let value = take(name) else { return nil }
        guard case .list(let items) = value else { throw mismatch(name, "a list", value) }
        guard items.count <= limit else {
            throw Problem.invalid(path(name), "\(path(name)) has \(items.count) entries; there may be at most \(limit).")
        }
        return try items.enumerated().map { index, item in
            guard case .string(let text) = item else { throw mismatch("\(name)[\(index)]", "a text", item) }
            guard !text.isEmpty, !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f }) else {
                throw Problem.invalid(
                    path("\(name)[\(index)]"), "\(path("\(name)[\(index)]")) must not be empty or hold control characters.")
            }
            return text
        }
    }

    /// A moment as ``WireTime`` writes it.
    mutating func time(_ name: String) throws -> WireTime? {
        guard let text = try string(name) else { return nil }
        guard let time = WireTime(text) else {
            throw Problem.invalid(path(name), "\(path(name)) is “\(text)”; it must be a time such as 2026-03-01T12:00:00Z.")
        }
        return time
    }

    /// Refuses what nobody took.
    func finish() throws {
        guard let unknown = values.keys.min() else { return }
        let all = known.isEmpty ? "none are known here" : "known are \(known.joined(separator: ", "))"
        throw Problem.invalid(path(unknown), "\(path(unknown)) is not a field of this request; \(all).")
    }

    private func mismatch(_ name: String, _ wanted: String, _ value: JSONValue) -> Problem {
        .invalid(path(name), "\(path(name)) must be \(wanted), not \(value.kind).")
    }
}

/// The parameters of a query, taken one by one; what is left at the end is unknown and refused.
struct Query {
    private var values: [String: String] = [:]
    /// Those of the parameter that may be given several times.
    private var filters: [String] = []
    private var known: [String] = []

    init(_ parameters: some Sequence<(key: Substring, value: Substring)>) throws {
        for (key, value) in parameters {
            if key == "filter" { filters.append(String(value)) }
            guard values.updateValue(String(value), forKey: String(key)) == nil || key == "filter" else {
                throw Problem.invalid(String(key), "The parameter \(key) is given twice; give it once.")
            }
        }
    }

    /// Every value of a parameter that may be given several times, which is only `filter`.
    mutating func strings(_ name: String) -> [String] {
        _ = string(name)
        return filters.filter { !$0.isEmpty }
    }

    mutating func boolean(_ name: String) throws -> Bool? {
        guard let text = string(name) else { return nil }
        guard let flag = Bool(text) else { throw Problem.invalid(name, "The parameter \(name) is “\(text)”; it must be true or false.") }
        return flag
    }

    mutating func string(_ name: String) -> String? {
        known.append(name)
        guard let value = values.removeValue(forKey: name), !value.isEmpty else { return nil }
        return value
    }

    mutating func integer(_ name: String, in range: ClosedRange<Int>) throws -> Int? {
        guard let text = string(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw Problem.invalid(
                name, "The parameter \(name) is “\(text)”; it must be a whole number between \(range.lowerBound) and \(range.upperBound).")
        }
        return number
    }

    /// Words with commas between them.
    mutating func choices<Choice: RawRepresentable & CaseIterable & Hashable>(_ name: String, _: Choice.Type) throws -> Set<Choice>?
    where Choice.RawValue == String {
        guard let text = string(name) else { return nil }
        return Set(
            try text.split(separator: ",").map { word in
                guard let choice = Choice(rawValue: String(word)) else {
                    let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
                    throw Problem.invalid(name, "The parameter \(name) is “\(word)”; it must be one of \(all).")
                }
                return choice
            })
    }

    func finish() throws {
        guard let unknown = values.keys.min() else { return }
        let all = known.isEmpty ? "none are known here" : "known are \(known.joined(separator: ", "))"
        throw Problem.invalid(unknown, "There is no parameter \(unknown); \(all).")
    }
}
