import Fleet
import SQL

extension SQLRow {
    /// One of Fleet's words. Throws ``StoreError`` `incompatible` for one that this Godwit does not know.
    func word<Word: RawRepresentable<String>>(_ column: String) throws -> Word {
        let text = try text(column)
        guard let word = Word(rawValue: text) else {
            throw StoreError(.incompatible, "The database holds the \(column) \"\(text)\", which this Godwit does not know.")
        }
        return word
    }

    /// As ``word(_:)``, where there may be none.
    func optionalWord<Word: RawRepresentable<String>>(_ column: String) throws -> Word? {
        try optionalText(column) == nil ? nil : try word(column)
    }

    func reason(_ code: String, _ message: String) throws -> Reason? {
        guard let code = try optionalText(code) else { return nil }
        return Reason(Reason.Code(code), try text(message))
    }

    func time(_ column: String) throws -> Timestamp {
        Timestamp(milliseconds: try integer(column))
    }
}
