/// A machine that runs guests, as the store knows it.
package struct Host: Hashable, Sendable, Codable {
    package var id: HostID
    package var name: String
    /// The agent's address: `https://10.0.0.1:7070`.
    package var agentURL: String
    /// False: nothing new is placed here.
    package var enabled: Bool
    /// True: nothing is placed here and its servers are to leave.
    package var maintenance: Bool
    /// How much of it may be promised.
    package var overcommit: Overcommit
    /// How many migrations may be on their way at once, into it and out of it.
    package var slots: MigrationSlots
    /// The end of what the agent's last answer proves: until then the host counts as online.
    package var healthyUntil: Timestamp
    package var autoMigration: AutoMigration
    package var guardian: HostGuard
    /// What came of its going offline, for people; nil while it is online.
    package var downNote: String?
    /// What the agent told last; nil until it first answered.
    package var facts: HostFacts? {
        get { told?.facts }
        set { told = newValue.map { Told($0) } }
    }
    /// Of all that a host is this is nearly everything: behind a reference, copies of a host cost next to nothing, and whoever looks at thousands
    /// of hosts copies none of their facts.
    package private(set) var told: Told?

    private enum CodingKeys: String, CodingKey {
        case id, name, agentURL, enabled, maintenance, overcommit, slots, healthyUntil, autoMigration, guardian, downNote
        case told = "facts"
    }

    package final class Told: Hashable, Sendable, Codable {
        package let kind: HostKind
        package let facts: HostFacts

        init(_ facts: HostFacts) {
            self.facts = facts
            kind = HostKind(facts)
        }

        package convenience init(from decoder: any Decoder) throws { self.init(try HostFacts(from: decoder)) }

        package func encode(to encoder: any Encoder) throws { try facts.encode(to: encoder) }

        package static func == (left: Told, right: Told) -> Bool { left === right || left.facts == right.facts }

        package func hash(into hasher: inout Hasher) { hasher.combine(facts) }
    }

    package init(
        id: HostID, name: String, agentURL: String, enabled: Bool, maintenance: Bool = false, overcommit: Overcommit = .standard,
        slots: MigrationSlots = .standard, healthyUntil: Timestamp, autoMigration: AutoMigration = AutoMigration(),
        guardian: HostGuard = HostGuard(), downNote: String? = nil, facts: HostFacts?
    ) {
        self.id = id
        self.name = name
        self.agentURL = agentURL
        self.enabled = enabled
        self.maintenance = maintenance
        self.overcommit = overcommit
        self.slots = slots
        self.healthyUntil = healthyUntil
        self.autoMigration = autoMigration
        self.guardian = guardian
        self.downNote = downNote
        self.told = facts.map { Told($0) }
    }

    /// True once its agent has told what it is.
    package var hasFacts: Bool { told != nil }

    /// vCPUs that may be promised here; 0 until its agent has told what it has.
    package var vcpusCapacity: Int { overcommit.vcpus(of: told?.facts.cpus ?? 0) }

    /// Bytes of memory that may be promised here, likewise.
    package var memoryCapacityBytes: Int64 { overcommit.memoryBytes(of: told?.facts.memoryBytes ?? 0) }

    package func isOnline(at now: Timestamp) -> Bool { now < healthyUntil }
}

/// What a host is and has, as its agent measured it.
package struct HostFacts: Hashable, Sendable, Codable {
    package var architecture: String
    /// `model name` of /proc/cpuinfo.
    package var cpuModel: String
    /// `microcode` of /proc/cpuinfo; empty where the kernel does not show it.
    package var microcode: String
    /// `uname -r`.
    package var kernel: String
    /// `7.2.22`.
    package var qemuVersion: String
    /// Versioned machine types that its QEMU offers.
    package var machineTypes: [String]
    /// Aliases (`pc`, `q35`) and the versioned type each stands for.
    package var machineAliases: [String: String]
    /// Names of the CPU models that its QEMU can run in full with the accelerator below.
    package var guestCPUModels: [String]
    /// What `auto` becomes here: the outcome of the KVM probe.
    package var accelerator: Accelerator
    /// Sentences an operator should read, such as why KVM is not used.
    package var warnings: [String]
    package var cpus: Int
    package var memoryBytes: Int64
    package var pageSizeBytes: Int64
    package var storages: [Storage]
    package var networks: [Network]
    /// Guests on this host by the agent's own books.
    package var guests: [GuestSummary]
    /// What failed attempts left here and was kept; nil of an agent that does not tell.
    package var kept: [KeptGuest]?
    /// Whether it has UEFI firmware (OVMF), and an emulator of TPMs (swtpm), for guests; nil of an agent that does not tell.
    package var hasUEFI: Bool?
    package var hasTPM: Bool?
    /// The host's own clock, read before anything else; not kept.
    package var boot: BootTime?
    /// How its guard stands; nil of an agent that knows of none.
    package var guardian: GuardReport?
    /// The host has said that it is being shut down in order. Nil of an agent that does not tell.
    package var isShuttingDown: Bool?
    /// The version of the agents' interface that it has; nil of an agent that does not tell.
    package var apiVersion: Int?

    package init(
        architecture: String, cpuModel: String, microcode: String, kernel: String, qemuVersion: String, machineTypes: [String],
        machineAliases: [String: String], guestCPUModels: [String], accelerator: Accelerator, warnings: [String], cpus: Int,
        memoryBytes: Int64, pageSizeBytes: Int64, storages: [Storage], networks: [Network], guests: [GuestSummary],
        kept: [KeptGuest]? = nil, hasUEFI: Bool? = nil, hasTPM: Bool? = nil, boot: BootTime? = nil, guardian: GuardReport? = nil,
        isShuttingDown: Bool? = nil
    ) {
        self.architecture = architecture
        self.cpuModel = cpuModel
        self.microcode = microcode
        self.kernel = kernel
        self.qemuVersion = qemuVersion
        self.machineTypes = machineTypes
        self.machineAliases = machineAliases
        self.guestCPUModels = guestCPUModels
        self.accelerator = accelerator
        self.warnings = warnings
        self.cpus = cpus
        self.memoryBytes = memoryBytes
        self.pageSizeBytes = pageSizeBytes
        self.storages = storages
        self.networks = networks
        self.guests = guests
        self.kept = kept
        self.hasUEFI = hasUEFI
        self.hasTPM = hasTPM
        self.boot = boot
        self.guardian = guardian
        self.isShuttingDown = isShuttingDown
    }
}

/// Where disks live.
package struct Storage: Hashable, Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        /// One host's own.
        case local
        /// Every host that lists it sees the same.
        case shared
    }

    package var name: String
    package var kind: Kind
    package var capacityBytes: Int64
    /// What the file system would still take.
    package var freeBytes: Int64
    /// Names of the base images that lie there; nil of an agent that does not tell.
    package var bases: [String]?

    package init(name: String, kind: Kind, capacityBytes: Int64, freeBytes: Int64, bases: [String]? = nil) {
        self.name = name
        self.kind = kind
        self.capacityBytes = capacityBytes
        self.freeBytes = freeBytes
        self.bases = bases
    }
}

/// A layer-2 network that a host is attached to.
package struct Network: Hashable, Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        /// Nics are taps on a bridge of the host.
        case bridge
        /// QEMU's user networking: guests reach out, nobody reaches in.
        case user
    }

    package var name: String
    package var kind: Kind

    package init(name: String, kind: Kind) {
        self.name = name
        self.kind = kind
    }
}

/// One guest as its agent sees it.
package struct GuestSummary: Hashable, Sendable, Codable {
    package enum Status: String, Sendable, Codable {
        case stopped
        /// Its vCPUs execute.
        case running
        /// QEMU is there, its vCPUs stand still.
        case paused
        /// A migration's target, waiting for its state or for the handover.
        case incoming
        /// A migration's source that handed over: it will not run again here.
        case handedOver = "handed-over"
    }

    package var server: ServerID
    package var status: Status
    package var epoch: Epoch
    /// QEMU's process, while there is one.
    package var pid: Int32?
    /// It was ended because the host's lease was over, and not started since. Nil otherwise.
    package var endedByGuard: Bool?

    package init(server: ServerID, status: Status, epoch: Epoch, pid: Int32?, endedByGuard: Bool? = nil) {
        self.server = server
        self.status = status
        self.epoch = epoch
        self.pid = pid
        self.endedByGuard = endedByGuard
    }
}
