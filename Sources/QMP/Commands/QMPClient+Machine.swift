/// The state of the guest as a whole (QAPI `StatusInfo`).
package struct RunState: Sendable, Hashable, Codable {
    /// QAPI's `RunState`: `running`, `paused`, `prelaunch`, `inmigrate`, `finish-migrate`, `postmigrate`, `shutdown`, `internal-error`, …
    package let status: String
    /// Whether the virtual CPUs execute.
    package let running: Bool
}

/// Whether KVM is used (QAPI `KvmInfo`).
package struct KVMInfo: Sendable, Hashable, Codable {
    /// The guest runs on KVM.
    package let enabled: Bool
    /// This QEMU was built with KVM; nothing is said about the machine.
    package let present: Bool
}

/// A QEMU release (QAPI `VersionInfo`).
package struct QEMUVersion: Sendable, Hashable, Codable, CustomStringConvertible {
    package let major: Int
    package let minor: Int
    package let micro: Int
    /// The distributor's own name of the build, often empty.
    package let package: String

    private enum CodingKeys: String, CodingKey { case qemu, package }
    private enum NumberKeys: String, CodingKey { case major, minor, micro }

    package init(major: Int, minor: Int, micro: Int, package: String = "") {
        self.major = major
        self.minor = minor
        self.micro = micro
        self.package = package
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let numbers = try container.nestedContainer(keyedBy: NumberKeys.self, forKey: .qemu)
        self.major = try numbers.decode(Int.self, forKey: .major)
        self.minor = try numbers.decode(Int.self, forKey: .minor)
        self.micro = try numbers.decode(Int.self, forKey: .micro)
        self.package = try container.decodeIfPresent(String.self, forKey: .package) ?? ""
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        var numbers = container.nestedContainer(keyedBy: NumberKeys.self, forKey: .qemu)
        try numbers.encode(major, forKey: .major)
        try numbers.encode(minor, forKey: .minor)
        try numbers.encode(micro, forKey: .micro)
        try container.encode(package, forKey: .package)
    }

    /// `7.2.22`, as QEMU's release notes write it.
    package var description: String { "\(major).\(minor).\(micro)" }
}

/// A machine type that this QEMU can be (QAPI `MachineInfo`).
package struct MachineInfo: Sendable, Hashable, Codable {
    package let name: String
    /// Another name of the same machine: `pc` is the alias of the newest `pc-i440fx-*`.
    package let alias: String?
    /// Taken when no machine is named.
    package let isDefault: Bool?
    /// The most virtual CPUs.
    package let maximumCPUs: Int
    package let deprecated: Bool?

    private enum CodingKeys: String, CodingKey {
        case name, alias, deprecated
        case isDefault = "is-default"
        case maximumCPUs = "cpu-max"
    }
}

/// A CPU model that this QEMU knows (QAPI `CpuDefinitionInfo`).
package struct CPUDefinition: Sendable, Hashable, Codable {
    package let name: String
    package let typename: String
    /// Whether a guest with this model can be migrated to another QEMU at all (`host` and `max` cannot).
    package let migrationSafe: Bool?
    /// What the accelerator or host lacks to run it; empty when it can run, nil when QEMU does not say.
    package let unavailableFeatures: [String]?
    /// The versioned model behind an unversioned name.
    package let aliasOf: String?
    package let deprecated: Bool?

    private enum CodingKeys: String, CodingKey {
        case name, typename, deprecated
        case migrationSafe = "migration-safe"
        case unavailableFeatures = "unavailable-features"
        case aliasOf = "alias-of"
    }
}

/// A CPU model with its properties spelled out (QAPI `CpuModelInfo`).
package struct CPUModel: Sendable, Hashable, Codable {
    package let name: String
    package let props: [String: JSONValue]?
}

/// A virtual CPU (QAPI `CpuInfoFast`).
package struct CPUInfo: Sendable, Hashable, Codable {
    package let index: Int
    /// The thread on the host that executes it.
    package let threadID: Int
    package let path: String

    private enum CodingKeys: String, CodingKey {
        case index = "cpu-index"
        case threadID = "thread-id"
        case path = "qom-path"
    }
}

extension QMPClient {
    /// QAPI `query-status`.
    package func queryStatus(deadline: Duration = defaultDeadline) async throws -> RunState {
        try await execute("query-status", as: RunState.self, deadline: deadline)
    }

    /// QAPI `query-version`.
    package func queryVersion(deadline: Duration = defaultDeadline) async throws -> QEMUVersion {
        try await execute("query-version", as: QEMUVersion.self, deadline: deadline)
    }

    /// QAPI `query-kvm`.
    package func queryKVM(deadline: Duration = defaultDeadline) async throws -> KVMInfo {
        try await execute("query-kvm", as: KVMInfo.self, deadline: deadline)
    }

    /// QAPI `query-machines`.
    package func queryMachines(deadline: Duration = defaultDeadline) async throws -> [MachineInfo] {
        try await execute("query-machines", as: [MachineInfo].self, deadline: deadline)
    }

    /// QAPI `query-cpu-definitions`. What is unavailable depends on the accelerator this QEMU was started with.
    package func queryCPUDefinitions(deadline: Duration = defaultDeadline) async throws -> [CPUDefinition] {
        try await execute("query-cpu-definitions", as: [CPUDefinition].self, deadline: deadline)
    }

    /// QAPI `query-cpu-model-expansion`: a model with every property (`type` = `full`) or only with what differs from a stable base (`static`).
    package func queryCPUModelExpansion(
        _ name: String, properties: [String: JSONValue] = [:], type: String = "full", deadline: Duration = defaultDeadline
    ) async throws -> CPUModel {
        struct Expansion: Decodable, Sendable { let model: CPUModel }
        let model: JSONValue = properties.isEmpty ? ["name": .string(name)] : ["name": .string(name), "props": .object(properties)]
        return try await execute(
            "query-cpu-model-expansion", ["type": .string(type), "model": model], as: Expansion.self, deadline: deadline
        ).model
    }

    /// QAPI `query-cpus-fast`: does not disturb the virtual CPUs.
    package func queryCPUsFast(deadline: Duration = defaultDeadline) async throws -> [CPUInfo] {
        try await execute("query-cpus-fast", as: [CPUInfo].self, deadline: deadline)
    }

    /// QAPI `cont`. On the source of a completed migration this makes a second running copy of the guest: QEMU does not refuse.
    package func cont(deadline: Duration = defaultDeadline) async throws {
        try await execute("cont", deadline: deadline)
    }

    /// QAPI `stop`: the virtual CPUs halt, I/O under way is finished first.
    package func stop(deadline: Duration = defaultDeadline) async throws {
        try await execute("stop", deadline: deadline)
    }

    /// QAPI `quit`: QEMU ends at once, as if the power had been cut. Returns at QEMU's answer; wait for `closed()` to know that the monitor is gone.
    package func quit(deadline: Duration = defaultDeadline) async throws {
        try await execute("quit", deadline: deadline)
    }

    /// QAPI `system_powerdown`: presses the ACPI power button. QEMU tells by `POWERDOWN`; the guest may do as it likes.
    package func systemPowerdown(deadline: Duration = defaultDeadline) async throws {
        try await execute("system_powerdown", deadline: deadline)
    }

    /// QAPI `set_link`: plugs or unplugs the cable of a nic.
    /// - Parameter name: the id of the nic's device or of its netdev.
    package func setLink(_ name: String, up: Bool, deadline: Duration = defaultDeadline) async throws {
        try await execute("set_link", ["name": .string(name), "up": .bool(up)], deadline: deadline)
    }

    /// QAPI `announce-self`: the guest's nics announce themselves to the switches (RARP), `rounds` times,
    /// the first pause `initial` milliseconds, each next one `step` longer, up to `max`.
    package func announceSelf(
        initial: Int = 50, max: Int = 550, rounds: Int = 5, step: Int = 100, deadline: Duration = defaultDeadline
    ) async throws {
        try await execute(
            "announce-self",
            ["initial": JSONValue(initial), "max": JSONValue(max), "rounds": JSONValue(rounds), "step": JSONValue(step)],
            deadline: deadline)
    }

    /// QAPI `object-add`, for instance `["qom-type": "tls-creds-x509", "id": "tls0", …]`.
    package func objectAdd(_ object: JSONValue, deadline: Duration = defaultDeadline) async throws {
        try await execute("object-add", object, deadline: deadline)
    }

    /// QAPI `object-del`.
    package func objectDel(_ id: String, deadline: Duration = defaultDeadline) async throws {
        try await execute("object-del", ["id": .string(id)], deadline: deadline)
    }
}
