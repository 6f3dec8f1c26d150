package import Fleet

/// Why one host cannot take a server: the first filter that it did not pass.
package struct Rejection: Hashable, Sendable {
    package let host: HostID
    package let name: String
    package let filter: PlacementFilter
    /// What the filter asked for, for a person: `4 vCPUs`.
    package let wanted: String
    private let finding: Finding

    /// What the host has instead: `2 of 16 left`.
    package var found: String { finding.text }

    package init(host: HostID, name: String, filter: PlacementFilter, wanted: String, found: String) {
        self.init(host: host, name: name, filter: filter, wanted: wanted, finding: .text(found))
    }

    init(host: HostID, name: String, filter: PlacementFilter, wanted: String, finding: Finding) {
        self.host = host
        self.name = name
        self.filter = filter
        self.wanted = wanted
        self.finding = finding
    }

    /// The same of another host.
    func of(_ host: HostID, name: String) -> Rejection {
        Rejection(host: host, name: name, filter: filter, wanted: wanted, finding: finding)
    }

    /// What is read counts.
    package static func == (left: Rejection, right: Rejection) -> Bool {
        left.host == right.host && left.filter == right.filter && left.name == right.name && left.wanted == right.wanted
            && left.found == right.found
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(host)
        hasher.combine(filter)
    }

    /// Figures that differ from host to host are kept as such: ten thousand sentences take longer than all filters, and few are read.
    enum Finding: Sendable {
        case text(String)
        case left(Int, of: Int)
        case taken(Int, of: Int)
        case bytesLeft(Int64)
        case bytesLeftOf(Int64, Int64)
        case bytesPromised(Int64, of: Int64)

        var text: String {
            switch self {
            case .text(let text): text
            case .left(let left, let all): "\(max(0, left)) of \(all) left"
            case .taken(let taken, let all): "\(taken) of \(all) taken"
            case .bytesLeft(let left): "\(Bytes(max(0, left))) left"
            case .bytesLeftOf(let left, let all): "\(Bytes(max(0, left))) of \(Bytes(all)) left"
            case .bytesPromised(let promised, let all): "\(Bytes(promised)) of \(Bytes(all)) promised to disks"
            }
        }
    }
}
