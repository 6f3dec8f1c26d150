/// Rows as climc prints them: `+----+` borders, a centred header, cells to the left, and a column only where some row has something in it.
package struct Table: Equatable {
    package struct Column: Equatable {
        package let name: String
        package let cells: [String]
    }

    package let columns: [Column]

    /// One row a thing; nil and empty cells count as nothing.
    package init(_ names: [String], rows: [[String?]]) {
        self.columns = names.enumerated().compactMap { index, name in
            let cells = rows.map { $0[index] ?? "" }
            return cells.allSatisfy(\.isEmpty) ? nil : Column(name: name, cells: cells)
        }
    }

    /// One thing: a row a field; fields without a value are left out.
    package init(fields: KeyValuePairs<String, String?>) {
        let present = fields.compactMap { name, value in value.flatMap { $0.isEmpty ? nil : [name, $0] as [String?] } }
        self.init(["Field", "Value"], rows: present)
    }

    /// With a line break at its end; nothing at all where there is no row.
    package var text: String {
        guard let count = columns.first?.cells.count, count > 0 else { return "" }
        let cells = columns.map { column in
            column.cells.map { $0.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) }
        }
        let widths = zip(columns, cells).map { column, cells in
            max(column.name.displayWidth, cells.joined().map(\.displayWidth).max() ?? 0)
        }
        let border = "+" + widths.map { String(repeating: "-", count: $0 + 2) }.joined(separator: "+") + "+\n"
        func line(_ texts: [String]) -> String {
            "|" + zip(texts, widths).map { text, width in " \(text)\(blanks(width - text.displayWidth)) " }.joined(separator: "|") + "|\n"
        }
        var text = border
        text += line(zip(columns, widths).map { column, width in blanks((width - column.name.displayWidth) / 2) + column.name })
        text += border
        for row in 0..<count {
            let height = cells.map { $0[row].count }.max() ?? 1
            for part in 0..<height {
                text += line(cells.map { part < $0[row].count ? $0[row][part] : "" })
            }
        }
        return text + border
    }

    /// The line below a list, as climc prints it.
    ///
    /// - Parameters:
    ///   - total: On all pages; nil where nobody counted.
    ///   - limit: Of a page; nil where there are no pages.
    package static func footer(total: Int?, shown: Int, limit: Int? = nil, offset: Int = 0) -> String {
        guard let limit, limit > 0 else { return "***  Total: \(total ?? shown)  ***" }
        let page = offset / limit + 1
        guard let total else { return "***  Total: not counted Limit: \(limit) Offset: \(offset) Page: \(page)  ***" }
        return "***  Total: \(total) Pages: \((total + limit - 1) / limit) Limit: \(limit) Offset: \(offset) Page: \(page)  ***"
    }

    private func blanks(_ count: Int) -> String { String(repeating: " ", count: max(0, count)) }
}

extension String {
    /// Broken at blanks into lines of at most `width`; a longer word stays whole, and so does a line that is set in as those of a table are.
    package func wrapped(_ width: Int) -> String {
        split(separator: "\n", omittingEmptySubsequences: false).map { paragraph in
            if paragraph.hasPrefix("  ") { return String(paragraph) }
            var lines: [String] = []
            var line = ""
            for word in paragraph.split(separator: " ", omittingEmptySubsequences: false) {
                if line.isEmpty {
                    line = String(word)
                } else if line.displayWidth + 1 + String(word).displayWidth <= width {
                    line += " \(word)"
                } else {
                    lines.append(line)
                    line = String(word)
                }
            }
            return (lines + [line]).joined(separator: "\n")
        }.joined(separator: "\n")
    }

    /// How many terminal columns it takes: Han, Hangul, Kana, full-width forms and emoji take two, combining marks none.
    package var displayWidth: Int {
        reduce(0) { width, character in
            guard let scalar = character.unicodeScalars.first else { return width }
            switch scalar.value {
            case 0x1100...0x115F, 0x2E80...0x303E, 0x3041...0xA4CF, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE30...0xFE6F, 0xFF00...0xFF60,
                0xFFE0...0xFFE6, 0x1F300...0x1F64F, 0x1F900...0x1F9FF, 0x20000...0x3FFFD:
                return width + 2
            default:
                return width + (scalar.properties.generalCategory == .nonspacingMark ? 0 : 1)
            }
        }
    }
}
