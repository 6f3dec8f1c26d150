package import Fleet

/// What is to be placed.
package struct PlacementRequest: Sendable {
    package var server: ServerID
    package var description: GuestDescription
    /// Where it is now.
    package var source: HostID
    package var mode: Mode
    package var options: MigrationOptions
    /// Hosts that this migration tried already, each with why it is not tried again.
    package var excluded: [HostID: Reason]
    package var overcommit: Overcommit

    package init(
        server: ServerID, description: GuestDescription, source: HostID, mode: Mode, options: MigrationOptions = MigrationOptions(),
        excluded: [HostID: Reason] = [:], overcommit: Overcommit = .standard
    ) {
        self.server = server
        self.description = description
        self.source = source
        self.mode = mode
        self.options = options
        self.excluded = excluded
        self.overcommit = overcommit
    }
}

/// Why one host cannot take a server: the first filter that it did not pass.
package struct Rejection: Hashable, Sendable, Codable {
    package var host: HostID
    package var name: String
    package var filter: PlacementFilter
    /// What the filter asked for, for a person: `4 vCPUs`.
    package var wanted: String
    /// What the host has instead: `2 of 16 left`.
    package var found: String

    package init(host: HostID, name: String, filter: PlacementFilter, wanted: String, found: String) {
        self.host = host
        self.name = name
        self.filter = filter
        self.wanted = wanted
        self.found = found
    }
}

/// What a host must be or have, in the order in which it is looked at.
package enum PlacementFilter: String, Sendable, Codable, CaseIterable {
    case notSource = "not-source"
    case preferred
    case excluded
    case enabled
    case online
    /// Its agent has told what it is.
    case facts
    case vcpus
    case memory
    case storage
    case network
    case accelerator
    case architecture
    case pageSize = "page-size"
    case cpuModel = "cpu-model"
    case microcode
    case kernel
    /// The guest's CPU model is one that the host's QEMU runs in full.
    case guestCPU = "guest-cpu"
    case machineType = "machine-type"
}

/// Where a server can go.
package enum PlacementOutcome: Hashable, Sendable {
    case chosen(HostID)
    /// One for every host there is.
    case rejected([Rejection])
}
