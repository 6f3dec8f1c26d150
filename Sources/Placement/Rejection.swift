package import Fleet

/// Why one host cannot take a server: the first filter that it did not pass.
package struct Rejection: Hashable, Sendable {
    package let host: HostID
    package let name: String
    package let filter: PlacementFilter
    /// What the filter asked for, for a person: `4 vCPUs`.
    package let wanted: String
    /// What the host has instead: `2 of 16 left`.
    package let found: String

    package init(host: HostID, name: String, filter: PlacementFilter, wanted: String, found: String) {
        self.host = host
        self.name = name
        self.filter = filter
        self.wanted = wanted
        self.found = found
    }
}
