/// A host with what is promised of it already, as placement sees it.
package struct HostLoad: Hashable, Sendable, Codable {
    package var host: Host
    /// vCPUs of servers placed here and of migrations on their way here.
    package var vcpusTaken: Int
    /// Bytes, likewise.
    package var memoryTakenBytes: Int64
    /// Bytes by storage name that migrations on their way here will still write.
    package var storageReservedBytes: [String: Int64]
    /// Bytes by storage name: the virtual sizes of the disks of servers placed here.
    package var storagePromisedBytes: [String: Int64]
    /// Unfinished migrations into this host.
    package var inboundMigrations: Int
    /// Unfinished migrations from this host that have a target, rescues left out: those take nothing of it.
    package var outboundMigrations: Int
    /// Attempts to bring a server here that failed within the last hour by what may be the host's fault.
    package var recentFailures: Int

    package init(
        host: Host, vcpusTaken: Int = 0, memoryTakenBytes: Int64 = 0, storageReservedBytes: [String: Int64] = [:],
        storagePromisedBytes: [String: Int64] = [:], inboundMigrations: Int = 0, outboundMigrations: Int = 0, recentFailures: Int = 0
    ) {
        self.host = host
        self.vcpusTaken = vcpusTaken
        self.memoryTakenBytes = memoryTakenBytes
        self.storageReservedBytes = storageReservedBytes
        self.storagePromisedBytes = storagePromisedBytes
        self.inboundMigrations = inboundMigrations
        self.outboundMigrations = outboundMigrations
        self.recentFailures = recentFailures
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
    package func vcpus(of facts: HostFacts) -> Int { vcpus(of: facts.cpus) }
    package func vcpus(of cpus: Int) -> Int { cpus.multiplied(by: vcpus) }

    /// Bytes that may be promised on a host.
    package func memoryBytes(of facts: HostFacts) -> Int64 { memoryBytes(of: facts.memoryBytes) }
    package func memoryBytes(of bytes: Int64) -> Int64 { bytes.multiplied(by: memory) }
}

extension FixedWidthInteger {
    /// Rounded down, and at most what the type holds.
    func multiplied(by factor: Double) -> Self {
        let product = Double(self) * factor
        return product < Double(Self.max) ? Self(product) : .max
    }
}

/// How many migrations a host may carry at once.
package struct MigrationSlots: Hashable, Sendable, Codable {
    package var inbound: Int
    package var outbound: Int

    package init(inbound: Int, outbound: Int) {
        self.inbound = inbound
        self.outbound = outbound
    }

    /// Two in, two out.
    package static let standard = MigrationSlots(inbound: 2, outbound: 2)
}
