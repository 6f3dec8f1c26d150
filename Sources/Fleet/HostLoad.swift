/// A host with what is promised of it already, as placement sees it.
package struct HostLoad: Hashable, Sendable, Codable {
    package var host: Host
    /// vCPUs of servers placed here and of migrations on their way here.
    package var vcpusTaken: Int
    /// Bytes, likewise.
    package var memoryTakenBytes: Int64
    /// Bytes by storage name that migrations on their way here will still write.
    package var storageReservedBytes: [String: Int64]
    /// Unfinished migrations into this host.
    package var inboundMigrations: Int

    package init(
        host: Host, vcpusTaken: Int = 0, memoryTakenBytes: Int64 = 0, storageReservedBytes: [String: Int64] = [:],
        inboundMigrations: Int = 0
    ) {
        self.host = host
        self.vcpusTaken = vcpusTaken
        self.memoryTakenBytes = memoryTakenBytes
        self.storageReservedBytes = storageReservedBytes
        self.inboundMigrations = inboundMigrations
    }
}

/// How much of a host may be promised, as a multiple of what it has.
package struct Overcommit: Hashable, Sendable, Codable {
    package var vcpus: Double
    package var memory: Double

    package init(vcpus: Double, memory: Double) {
        self.vcpus = vcpus
        self.memory = memory
    }

    /// Eight vCPUs a core, no memory twice.
    package static let standard = Overcommit(vcpus: 8, memory: 1)

    /// vCPUs that may be promised on a host.
    package func vcpus(of facts: HostFacts) -> Int { Int(Double(facts.cpus) * vcpus) }

    /// Bytes that may be promised on a host.
    package func memoryBytes(of facts: HostFacts) -> Int64 { Int64(Double(facts.memoryBytes) * memory) }
}
