import Client
import Fleet

/// Hosts as tables.
enum HostTables {
    static func list(_ hosts: [HostView]) -> String {
        Table(
            [
                "ID", "Name", "Host_status", "Enabled", "Maintenance", "cpu_count", "vcpus_taken", "mem_size", "mem_taken", "Storage_free",
                "Guests",
                "Inbound", "Outbound", "Failed_lately", "cpu_desc", "qemu_version", "Agent",
            ],
            rows: hosts.map { host in
                [
                    host.id, host.name, host.status.rawValue, String(host.enabled), host.maintenance ? "true" : nil,
                    host.cpus.map(String.init), String(host.vcpusTaken),
                    host.memoryTotalMB.map(String.init), String(host.memoryTakenMB),
                    host.storages.map { "\($0.name) \(Amounts.bytes($0.freeBytes))" }.joined(separator: ", "),
                    host.guests.map(String.init), host.inboundMigrations > 0 ? String(host.inboundMigrations) : nil,
                    host.outboundMigrations > 0 ? String(host.outboundMigrations) : nil,
                    host.recentFailures > 0 ? String(host.recentFailures) : nil, host.cpuModel,
                    host.qemuVersion, host.agentURL,
                ]
            }
        ).text
    }

    static func one(_ host: HostView) -> String {
        Table(fields: [
            "id": host.id,
            "name": host.name,
            "host_status": host.status.rawValue,
            "enabled": String(host.enabled),
            "maintenance": host.maintenance ? "true: nothing is placed here" : nil,
            "agent": host.agentURL,
            "architecture": host.architecture,
            "cpu_desc": host.cpuModel,
            "cpu_microcode": host.microcode,
            "kernel_version": host.kernel,
            "qemu_version": host.qemuVersion,
            "accelerator": host.accelerator?.rawValue,
            "machine_types": host.machineTypes.map { $0.joined(separator: " ").wrapped(80) },
            "cpu_count": host.cpus.map(String.init),
            "vcpus_taken": String(host.vcpusTaken),
            "mem_size": host.memoryTotalMB.map(String.init),
            "mem_taken": String(host.memoryTakenMB),
            "cpu_overcommit": number(host.vcpusOvercommit),
            "mem_overcommit": number(host.memoryOvercommit),
            "migration_slots": "\(host.inboundSlots) in, \(host.outboundSlots) out",
            "storages": host.storages.map {
                "\($0.name)  \($0.kind.rawValue)  \(Amounts.bytes($0.freeBytes)) free of \(Amounts.bytes($0.capacityBytes))"
                    + ($0.reservedBytes > 0 ? "  \(Amounts.bytes($0.reservedBytes)) reserved" : "")
            }.joined(separator: "\n"),
            "networks": host.networks.map { "\($0.name)  \($0.kind.rawValue)" }.joined(separator: "\n"),
            "guests": host.guests.map(String.init),
            "inbound_migrations": host.inboundMigrations > 0 ? String(host.inboundMigrations) : nil,
            "outbound_migrations": host.outboundMigrations > 0 ? String(host.outboundMigrations) : nil,
            "failed_lately": host.recentFailures > 0 ? String(host.recentFailures) : nil,
            "warnings": host.warnings.map { $0.wrapped(80) }.joined(separator: "\n"),
        ]).text
    }

    /// Without a point where none is needed.
    private static func number(_ value: Double) -> String { value == value.rounded() ? String(Int64(value)) : String(value) }
}
