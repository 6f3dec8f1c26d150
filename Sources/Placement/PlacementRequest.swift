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
    /// The other servers of the groups that it is in.
    package var companions: [GroupCompanion]
    /// Hosts whose QEMU was asked and lacks features of the CPU that the guest was given, each with which.
    package var missingFeatures: [HostID: [String]]

    package init(
        server: ServerID, description: GuestDescription, source: HostID, mode: Mode, options: MigrationOptions = MigrationOptions(),
        excluded: [HostID: Reason] = [:], companions: [GroupCompanion] = [], missingFeatures: [HostID: [String]] = [:]
    ) {
        self.server = server
        self.description = description
        self.source = source
        self.mode = mode
        self.options = options
        self.excluded = excluded
        self.companions = companions
        self.missingFeatures = missingFeatures
    }

    /// Whether the QEMU of a chosen host must still be asked for the features of the guest's CPU, which no fact of a host tells.
    package var asksForFeatures: Bool { mode == .live && options.cpuCheck == .features && !options.skipCPUCheck }
}

/// What a host must be or have, in the order in which it is looked at.
package enum PlacementFilter: String, Sendable, Codable, CaseIterable {
    case notSource = "not-source"
    case preferred
    case excluded
    case enabled
    case maintenance
    case online
    /// Its agent has told what it is.
    case facts
    /// A rescue leaves the source's own disks behind, so that there must be none.
    case localDisk = "local-disk"
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
    /// Its QEMU is not older than the guest's machine type.
    case qemuVersion = "qemu-version"
    case machineType = "machine-type"
    /// The guest's CPU model is one that the host's QEMU runs in full.
    case guestCPU = "guest-cpu"
    /// It has the firmware that the guest boots by.
    case firmware
    /// It has an emulator for the guest's TPM.
    case tpm
    /// Its QEMU offers every feature of the CPU that the guest was given.
    case cpuFeatures = "cpu-features"
    case group
    /// A slot for one more migration out of the source. The last two are those that only time mends.
    case outbound
    /// A slot for one more migration into the host.
    case inbound

    /// It passes by itself when other migrations end.
    package var isTransient: Bool { self == .outbound || self == .inbound }
}

/// Where a server can go.
package enum PlacementOutcome: Equatable, Sendable {
    case chosen(HostID)
    /// One for every host there is.
    case rejected(Rejections)
}
