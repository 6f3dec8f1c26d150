/// One condition on a field, in climc's way of writing: `status.equals(running)`, `name.contains(vm)`, `name.in(web,db)`,
/// `vcpu_count.gt(2)`, `note.isnull()`; also `status=running` and `status!=running`.
package struct FieldFilter<Item: Listed>: Sendable {
    private let field: Field<Item>
    private let operation: Operation
    private let operands: [String]

    /// How a value is compared. Words of climc.
    private enum Operation: String, CaseIterable {
        case equals, notequals, `in`, notin, contains, startswith, endswith, gt, ge, lt, le, between, isnull, isnotnull

        /// How many values it takes.
        var operands: ClosedRange<Int> {
            switch self {
            case .equals, .notequals, .contains, .startswith, .endswith, .gt, .ge, .lt, .le: 1...1
            case .between: 2...2
            case .in, .notin: 1...1000
            case .isnull, .isnotnull: 0...0
            }
        }
    }

    /// - Throws: ``ListError`` that names what is not understood and what would be.
    package init(_ text: String) throws(ListError) {
        let (name, operation, operands) = try Self.parts(of: text)
        self.field = try Item.field(name, in: "filter")
        self.operation = operation
        self.operands = operands
        guard operation.operands.contains(operands.count) else {
            let wanted = operation.operands.lowerBound
            let number = wanted == 0 ? "no value" : wanted == 1 ? "one value" : "\(wanted) values"
            let more = operation.operands.upperBound > wanted ? " or more" : ""
            throw ListError("filter", "“\(text)”: \(operation.rawValue) takes \(number)\(more).")
        }
    }

    private static func parts(of text: String) throws(ListError) -> (String, Operation, [String]) {
        if text.hasSuffix(")"), let open = text.firstIndex(of: "(") {
            let head = text[..<open]
            let inside = text[text.index(after: open)...].dropLast()
            // Up to the last dot: `status.equals`.
            guard let dot = head.lastIndex(of: "."), dot != head.startIndex else { throw unreadable(text) }
            let word = head[head.index(after: dot)...]
            guard let operation = Operation(rawValue: word.lowercased().replacing("_", with: "")) else {
                let known = Operation.allCases.map(\.rawValue).joined(separator: ", ")
                throw ListError("filter", "“\(text)”: “\(word)” is none of \(known).")
            }
            return (String(head[..<dot]), operation, values(inside))
        }
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else { throw unreadable(text) }
        let value = unquoted(text[text.index(after: equals)...])
        let name = text[..<equals]
        return name.hasSuffix("!") ? (String(name.dropLast()), .notequals, [value]) : (String(name), .equals, [value])
    }

    private static func unreadable(_ text: String) -> ListError {
        ListError("filter", "“\(text)” is no filter; write it like status.equals(running), name.contains(vm) or status=running.")
    }

    private static func values(_ text: Substring) -> [String] {
        if text.allSatisfy(\.isWhitespace) { return [] }
        return text.split(separator: ",", omittingEmptySubsequences: false).map { unquoted($0) }
    }

    /// Without blanks around it and one pair of quotation marks.
    private static func unquoted(_ text: Substring) -> String {
        var text = text[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        for mark in ["\"", "'"] where text.count >= 2 && text.hasPrefix(mark) && text.hasSuffix(mark) {
            return String(text.dropFirst().dropLast())
        }
        return String(text)
    }

    /// Without regard to case. Of a list it is enough that one entry does; an absent value equals nothing.
    package func matches(_ item: Item) -> Bool {
        let value = field.value(item)
        switch operation {
        case .isnull: return value == .none
        case .isnotnull: return value != .none
        case .notequals, .notin: return !entries(of: value).contains { entry in operands.contains { same(entry, $0) } }
        case .equals, .in: return entries(of: value).contains { entry in operands.contains { same(entry, $0) } }
        case .contains: return texts(of: value).contains { $0.contains(operands[0].lowercased()) }
        case .startswith: return texts(of: value).contains { $0.hasPrefix(operands[0].lowercased()) }
        case .endswith: return texts(of: value).contains { $0.hasSuffix(operands[0].lowercased()) }
        case .gt: return entries(of: value).contains { compare($0, operands[0]) > 0 }
        case .ge: return entries(of: value).contains { compare($0, operands[0]) >= 0 }
        case .lt: return entries(of: value).contains { compare($0, operands[0]) < 0 }
        case .le: return entries(of: value).contains { compare($0, operands[0]) <= 0 }
        case .between: return entries(of: value).contains { compare($0, operands[0]) >= 0 && compare($0, operands[1]) <= 0 }
        }
    }

    private func entries(of value: FieldValue) -> [FieldValue] {
        switch value {
        case .none: []
        case .list(let list): list.map(FieldValue.text)
        default: [value]
        }
    }

    private func texts(of value: FieldValue) -> [String] {
        entries(of: value).compactMap { $0.text?.lowercased() }
    }

    private func same(_ value: FieldValue, _ operand: String) -> Bool { compare(value, operand) == 0 }

    /// Below zero, zero or above it, as the value is less than, equal to or more than the operand.
    private func compare(_ value: FieldValue, _ operand: String) -> Int {
        if case .number(let number) = value, let other = Int64(operand) { return number < other ? -1 : number == other ? 0 : 1 }
        let (text, other) = ((value.text ?? "").lowercased(), operand.lowercased())
        return text < other ? -1 : text == other ? 0 : 1
    }
}
