package import Fleet

/// That no host can take a server, told to a person.
package struct PlacementFailure: Hashable, Sendable {
    package let server: String
    package let rejections: [Rejection]

    /// So many hosts get a line of their own; the rest are counted by filter.
    package static let linesAtMost = 30

    /// - Parameter server: its name.
    package init(server: String, rejections: [Rejection]) {
        self.server = server
        self.rejections = rejections
    }

    /// One line a host: `host2: wanted 4 vCPUs, found 2 of 16 left`. The source comes last, hosts otherwise by name.
    package var lines: [String] {
        let ordered = rejections.sorted { left, right in
            let leftIsSource = left.filter == .notSource
            let rightIsSource = right.filter == .notSource
            return leftIsSource == rightIsSource ? left.name < right.name : rightIsSource
        }
        let width = ordered.prefix(Self.linesAtMost).map(\.name.count).max() ?? 0
        var lines = ordered.prefix(Self.linesAtMost).map { rejection in
            let padding = String(repeating: " ", count: width - rejection.name.count)
            return "\(rejection.name): \(padding)wanted \(rejection.wanted), found \(Self.flat(rejection.found))"
        }
        let rest = ordered.dropFirst(Self.linesAtMost)
        if !rest.isEmpty {
            let counts = Dictionary(grouping: rest, by: \.filter).map { (filter: $0.key, count: $0.value.count) }
                .sorted { ($1.count, $0.filter.rawValue) < ($0.count, $1.filter.rawValue) }
            let told = counts.map { "\($0.count) by \($0.filter.rawValue)" }.joined(separator: ", ")
            lines.append("and \(rest.count) more: \(told)")
        }
        return lines
    }

    /// The sentence and under it the lines.
    package var message: String {
        guard !rejections.isEmpty else { return "No host can take \(server): there is no host." }
        return (["No host can take \(server):"] + lines).joined(separator: "\n  ")
    }

    package var reason: Reason { Reason(.noHost, message) }

    /// The reason of a further attempt that found no host: what went wrong before, and why nothing else could be tried.
    package func reason(after original: Reason) -> Reason {
        Reason(original.code, "\(original.message)\n\(message)")
    }

    /// A reason that is told within a line keeps only its first one.
    private static func flat(_ text: String) -> String {
        text.split(separator: "\n", maxSplits: 1).first.map(String.init) ?? text
    }
}
