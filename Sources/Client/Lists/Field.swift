/// Something of a listed thing that lists can show, order by and filter on.
package struct Field<Item: Sendable>: Sendable {
    /// As climc writes it, which is also the column's header: `vcpu_count`. Case does not matter where it is named.
    package let name: String
    /// Other names of it, such as the API's own (`vcpus`).
    package let aliases: [String]
    package let value: @Sendable (Item) -> FieldValue

    package init(_ name: String, _ aliases: String..., value: @escaping @Sendable (Item) -> FieldValue) {
        self.name = name
        self.aliases = aliases
        self.value = value
    }

    func isCalled(_ text: String) -> Bool {
        ([name] + aliases).contains { $0.lowercased() == text.lowercased() }
    }
}

/// What a field says of one thing.
package enum FieldValue: Hashable, Sendable {
    case none
    case text(String)
    case number(Int64)
    case flag(Bool)
    case list([String])

    package init(_ text: String?) { self = text.map { $0.isEmpty ? .none : .text($0) } ?? .none }
    package init(_ number: Int64?) { self = number.map(FieldValue.number) ?? .none }
    package init(_ number: Int?) { self = number.map { .number(Int64($0)) } ?? .none }
    package init(_ flag: Bool) { self = .flag(flag) }
    package init(_ list: [String]) { self = list.isEmpty ? .none : .list(list) }

    /// As a cell of a table and as filters read it; nil is nothing.
    package var text: String? {
        switch self {
        case .none: nil
        case .text(let text): text
        case .number(let number): String(number)
        case .flag(let flag): String(flag)
        case .list(let list): list.joined(separator: ",")
        }
    }

    /// Numbers by their size, all else by its text without regard to case; nothing comes first.
    package static func isBefore(_ left: FieldValue, _ right: FieldValue) -> Bool {
        switch (left, right) {
        case (.number(let left), .number(let right)): left < right
        case (.none, .none): false
        case (.none, _): true
        case (_, .none): false
        default: (left.text ?? "").lowercased() < (right.text ?? "").lowercased()
        }
    }
}

/// A thing that lists show.
package protocol Listed: Sendable {
    /// In the order in which lists show them; the first names the thing.
    static var fields: [Field<Self>] { get }
    /// In sentences: `server`.
    static var kind: String { get }
    /// The field by which lists are ordered when nothing else was asked for.
    static var ordinaryOrder: String { get }
}

extension Listed {
    /// - Parameter parameter: Where the name was given, for the complaint: `order_by`.
    /// - Throws: ``ListError`` that lists the known ones.
    package static func field(_ name: String, in parameter: String) throws(ListError) -> Field<Self> {
        if let field = fields.first(where: { $0.isCalled(name) }) { return field }
        throw ListError(
            parameter, "a \(kind) has no field “\(name)”; its fields are \(fields.map(\.name).joined(separator: ", ")).")
    }
}

/// What is wrong with the wish for a list, in one sentence.
package struct ListError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The parameter to blame, as the API calls it: `order_by`, `filter`.
    package let parameter: String
    package let message: String

    init(_ parameter: String, _ message: String) {
        self.parameter = parameter
        self.message = message
    }

    package var description: String { message }
}
