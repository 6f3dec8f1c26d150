/// A word out of a fixed few.
enum Choices {
    /// - Throws: A sentence with the words that would do.
    static func parse<Choice: RawRepresentable & CaseIterable>(
        _ text: String, as type: Choice.Type, field: String
    ) throws(InputError) -> Choice where Choice.RawValue == String {
        guard let choice = Choice(rawValue: text) else { throw InputError("\(field) “\(text)” is not one of \(list(type)).") }
        return choice
    }

    static func list<Choice: RawRepresentable & CaseIterable>(_ type: Choice.Type) -> String where Choice.RawValue == String {
        type.allCases.map(\.rawValue).joined(separator: ", ")
    }

    /// A path that a host will read: relative ones would mean something else there.
    static func hostPath(_ path: String, field: String) throws(InputError) -> String {
        guard path.hasPrefix("/") else {
            throw InputError("\(field) “\(path)” must be an absolute path, for it is read on the host.")
        }
        return path
    }
}
