package import Fleet

/// A host as the API shows it. What only its agent knows is nil until that has answered once.
package struct HostView: Hashable, Sendable, Codable {
    package enum Status: String, Sendable, Codable, CaseIterable {
        /// Its agent answered lately.
        case online
        case offline
    }

    /// What its books say of it, in climc's words.
    package enum Condition: String, Sendable, Codable, CaseIterable {
        /// Its agent has never answered.
        case initial = "init"
        case running
        /// Its servers are to leave, and nothing is placed here.
        case maintaining
    }

    /// How its guard stood when the agent answered last.
    package enum Guard: String, Sendable, Codable, CaseIterable {
        case absent
        case serving
        /// It was told to end.
        case leaving
        /// It has confirmed that it ends marked guests with the host's lease: the host's death can be proven.
        case confirmed
        /// The lease is over: no marked guest runs, and none is started.
        case leaseOver = "lease-over"
    }

    package var id: String
    package var name: String
    /// `status` on the wire.
    package var condition: Condition
    /// `host_status` on the wire, as in climc.
    package var status: Status
    package var enabled: Bool
    /// Nothing is placed here.
    package var maintenance: Bool
    /// Its servers on shared storage are started elsewhere when it is proven dead; and after an orderly shutdown.
    package var autoMigrateOnHostDown: Bool
    package var autoMigrateOnHostShutdown: Bool
    /// `guard` on the wire.
    package var guardian: Guard
    /// The guard's own death ends the host.
    package var hasWatchdog: Bool
    /// What came of its going offline.
    package var downNote: String?
    /// How many vCPUs may be promised for each processor, and how often each byte of memory.
    package var vcpusOvercommit: Double
    package var memoryOvercommit: Double
    /// Migrations that may be on their way into it, and out of it, at once.
    package var inboundSlots: Int
    package var outboundSlots: Int
    package var agentURL: String
    package var architecture: String?
    package var cpuModel: String?
    package var microcode: String?
    package var kernel: String?
    package var qemuVersion: String?
    package var machineTypes: [String]?
    package var accelerator: Accelerator?
    package var cpus: Int?
    /// vCPUs of servers placed here and of migrations on their way here.
    package var vcpusTaken: Int
    /// MiB.
    package var memoryTotalMB: Int64?
    /// MiB of servers placed here and of migrations on their way here.
    package var memoryTakenMB: Int64
    package var storages: [StorageView]
    package var networks: [NetworkView]
    /// How many guests its agent has.
    package var guests: Int?
    /// Ids of what failed attempts left here and was kept; nil when nothing is.
    package var kept: [String]?
    /// How many of them execute.
    package var runningGuests: Int?
    /// Unfinished migrations into this host.
    package var inboundMigrations: Int
    /// Unfinished migrations from this host that have a target.
    package var outboundMigrations: Int
    /// Attempts to bring a server here that failed within the last hour.
    package var recentFailures: Int
    package var warnings: [String]
    /// Only in the answer to the beginning of a maintenance.
    package var drain: DrainView?

    package init(
        id: String, name: String, condition: Condition, status: Status, enabled: Bool, maintenance: Bool = false,
        autoMigrateOnHostDown: Bool = false, autoMigrateOnHostShutdown: Bool = false, guardian: Guard = .absent, hasWatchdog: Bool = false,
        downNote: String? = nil, vcpusOvercommit: Double = 8, memoryOvercommit: Double = 1, inboundSlots: Int = 2, outboundSlots: Int = 2,
        agentURL: String,
        architecture: String? = nil, cpuModel: String? = nil, microcode: String? = nil, kernel: String? = nil, qemuVersion: String? = nil,
        machineTypes: [String]? = nil, accelerator: Accelerator? = nil, cpus: Int? = nil, vcpusTaken: Int = 0,
        memoryTotalMB: Int64? = nil, memoryTakenMB: Int64 = 0, storages: [StorageView] = [], networks: [NetworkView] = [],
        guests: Int? = nil, runningGuests: Int? = nil, kept: [String]? = nil, inboundMigrations: Int = 0, outboundMigrations: Int = 0,
        recentFailures: Int = 0,
        warnings: [String] = []
    ) {
        self.id = id
        self.name = name
        self.condition = condition
        self.status = status
        self.enabled = enabled
        self.maintenance = maintenance
        self.autoMigrateOnHostDown = autoMigrateOnHostDown
        self.autoMigrateOnHostShutdown = autoMigrateOnHostShutdown
        self.guardian = guardian
        self.hasWatchdog = hasWatchdog
        self.downNote = downNote
        self.vcpusOvercommit = vcpusOvercommit
        self.memoryOvercommit = memoryOvercommit
        self.inboundSlots = inboundSlots
        self.outboundSlots = outboundSlots
        self.agentURL = agentURL
        self.architecture = architecture
        self.cpuModel = cpuModel
        self.microcode = microcode
        self.kernel = kernel
        self.qemuVersion = qemuVersion
        self.machineTypes = machineTypes
        self.accelerator = accelerator
        self.cpus = cpus
        self.vcpusTaken = vcpusTaken
        self.memoryTotalMB = memoryTotalMB
        self.memoryTakenMB = memoryTakenMB
        self.storages = storages
        self.networks = networks
        self.guests = guests
        self.kept = kept
        self.runningGuests = runningGuests
        self.inboundMigrations = inboundMigrations
        self.outboundMigrations = outboundMigrations
        self.recentFailures = recentFailures
        self.warnings = warnings
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, name
        case condition = "status"
        case status = "host_status"
        case enabled, maintenance
        case autoMigrateOnHostDown = "auto_migrate_on_host_down"
        case autoMigrateOnHostShutdown = "auto_migrate_on_host_shutdown"
        case guardian = "guard"
        case hasWatchdog = "watchdog"
        case downNote = "down_note"
        case vcpusOvercommit = "vcpus_overcommit"
        case memoryOvercommit = "memory_overcommit"
        case inboundSlots = "inbound_slots"
        case outboundSlots = "outbound_slots"
        case agentURL = "agent_url"
        case architecture
        case cpuModel = "cpu_model"
        case microcode, kernel
        case qemuVersion = "qemu_version"
        case machineTypes = "machine_types"
        case accelerator, cpus
        case vcpusTaken = "vcpus_taken"
        case memoryTotalMB = "memory_total_mb"
        case memoryTakenMB = "memory_taken_mb"
        case storages, networks, guests, kept
        case runningGuests = "running_guests"
        case inboundMigrations = "inbound_migrations"
        case outboundMigrations = "outbound_migrations"
        case recentFailures = "recent_failures"
        case warnings, drain
    }
}

/// A storage that a host has or sees.
package struct StorageView: Hashable, Sendable, Codable {
    package var name: String
    package var kind: Storage.Kind
    package var capacityBytes: Int64
    /// What the file system would still take.
    package var freeBytes: Int64
    /// What migrations on their way here will still write.
    package var reservedBytes: Int64

    package init(name: String, kind: Storage.Kind, capacityBytes: Int64, freeBytes: Int64, reservedBytes: Int64) {
        self.name = name
        self.kind = kind
        self.capacityBytes = capacityBytes
        self.freeBytes = freeBytes
        self.reservedBytes = reservedBytes
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case name, kind
        case capacityBytes = "capacity_bytes"
        case freeBytes = "free_bytes"
        case reservedBytes = "reserved_bytes"
    }
}

/// A network that a host is attached to.
package struct NetworkView: Hashable, Sendable, Codable {
    package var name: String
    package var kind: Network.Kind

    package init(name: String, kind: Network.Kind) {
        self.name = name
        self.kind = kind
    }
}
