import Client
import Fleet
import Output

/// How a kind of thing is listed.
struct Columns<Item: Listed & Codable>: Sendable {
    /// Names of fields, in their order.
    let usual: [String]
    /// What `--details` adds.
    let details: [String]
    /// Cells that tell a field better than its plain value, by the field's name.
    let cells: [String: @Sendable (Item) -> String?]

    /// - Parameter chosen: Only these; the usual ones when empty.
    func table(_ items: [Item], details: Bool = false, chosen: [Field<Item>] = []) -> Table {
        let names = details ? usual + self.details : usual
        let fields = chosen.isEmpty ? names.compactMap { name in Item.fields.first { $0.name == name } } : chosen
        return Table(
            fields.map(\.name),
            rows: items.map { item in fields.map { field in cells[field.name].map { $0(item) } ?? field.value(item).text } })
    }

    /// Writes a page in the way asked for.
    ///
    /// - Parameter after: Below the footer of a table.
    func print(_ page: Page<Item>, _ options: ListOptions, as output: OutputFormat, after: String = "") throws {
        let chosen = try options.chosen(of: Item.self)
        let footer = Table.footer(total: page.total, shown: page.items.count, limit: options.limit, offset: options.offset)
        let table = table(page.items, details: options.details, chosen: chosen).text + footer + "\n" + after
        if chosen.isEmpty {
            try output.print(page.items, table: table)
        } else {
            try output.print(page.items.map { ChosenFields(item: $0, fields: chosen) }, table: table)
        }
    }
}

/// Of a thing only the fields that were asked for, by their names in lower case.
private struct ChosenFields<Item: Sendable>: Encodable {
    let item: Item
    let fields: [Field<Item>]

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { return nil }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        for field in fields {
            let key = Key(stringValue: field.name.lowercased())
            switch field.value(item) {
            case .none: try container.encodeNil(forKey: key)
            case .text(let text): try container.encode(text, forKey: key)
            case .number(let number): try container.encode(number, forKey: key)
            case .flag(let flag): try container.encode(flag, forKey: key)
            case .list(let list): try container.encode(list, forKey: key)
            }
        }
    }
}
