package import Fleet

/// That no host can take a server, told to a person: a table with a line a host.
package struct PlacementFailure: Sendable {
    package let server: String
    /// Hosts by name, the source last.
    package let ordered: Rejections

    /// So many hosts get a line of their own; the rest are counted by filter.
    package static let linesAtMost = 30
    /// Characters of a cell; what is longer is cut, and whole in the forecast.
    package static let cellAtMost = 72

    package static let columns = ["host", "filter", "wanted", "found"]

    /// - Parameter server: its name.
    package init(server: String, rejections: Rejections) {
        self.server = server
        ordered = rejections.byName()
    }

    /// One row a host, of the cells that ``columns`` names.
    package var rows: [[String]] {
        ordered.prefix(Self.linesAtMost).map { [$0.name, $0.filter.rawValue, $0.wanted, $0.found].map(Self.cell) }
    }

    /// The table as text: the columns' names, then a line a host, then how many more there are.
    package var lines: [String] {
        let table = [Self.columns] + rows
        let widths = Self.columns.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
        var lines = table.map { row in
            zip(row, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
                .joined(separator: "  ").trimmingEnd
        }
        let rest = ordered.filters.dropFirst(Self.linesAtMost)
        if !rest.isEmpty {
            var counted: [PlacementFilter: Int] = [:]
            for filter in rest { counted[filter, default: 0] += 1 }
            let counts = counted.map { (filter: $0.key, count: $0.value) }
                .sorted { ($1.count, $0.filter.rawValue) < ($0.count, $1.filter.rawValue) }
            let told = counts.map { "\($0.count) by \($0.filter.rawValue)" }.joined(separator: ", ")
            lines.append("and \(rest.count) more: \(told)")
        }
        return lines
    }

    /// The sentence and under it the table.
    package var message: String {
        guard !ordered.isEmpty else { return "No host can take \(server): there is no host." }
        return (["No host can take \(server):"] + lines).joined(separator: "\n  ")
    }

    package var reason: Reason { Reason(.noHost, message) }

    /// The reason of a further attempt that found no host: what went wrong before, and why nothing else could be tried.
    package func reason(after original: Reason) -> Reason {
        Reason(original.code, "\(original.message)\n\(message)")
    }

    /// What the server waits for when a host could take it as soon as other migrations end; nil when waiting would not help.
    package var waitsFor: String? {
        let transient = ordered.only(\.isTransient)
        guard let first = transient.first else { return nil }
        if first.filter == .outbound { return "\(first.wanted): \(first.found)" }
        let hosts = transient.prefix(5).map(\.name).joined(separator: ", ")
        let more = transient.count > 5 ? " and \(transient.count - 5) more" : ""
        return "a free slot for a migration into \(hosts)\(more)"
    }

    /// A reason that is told within a cell keeps only its first line, and not all of a long one.
    private static func cell(_ text: String) -> String {
        let line = text.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? text
        return line.count > cellAtMost ? line.prefix(cellAtMost - 1) + "…" : line
    }
}

extension String {
    fileprivate var trimmingEnd: String {
        var text = self
        while text.last == " " { text.removeLast() }
        return text
    }
}
