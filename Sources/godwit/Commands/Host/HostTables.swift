import Client
import Fleet
import Output

/// Hosts as tables.
enum HostTables {
    /// climc's columns, then how full it is.
    static let columns = Columns<HostView>(
        usual: [
            "ID", "Name", "Access_ip", "Status", "enabled", "host_status", "Guests", "Running_guests", "cpu_count", "vcpus_taken",
            "mem_size", "mem_taken", "Storage_free", "Inbound", "Outbound", "Failed_lately",
        ],
        details: [
            "Hypervisor", "cpu_architecture", "cpu_desc", "cpu_microcode", "kernel_version", "qemu_version", "accelerator", "Networks",
            "Agent", "auto_migrate_on_host_down", "auto_migrate_on_host_shutdown", "Guard",
        ],
        cells: [
            "Storage_free": { $0.storages.map { "\($0.name) \(Amounts.bytes($0.freeBytes))" }.joined(separator: ", ") },
            "Inbound": { $0.inboundMigrations > 0 ? String($0.inboundMigrations) : nil },
            "Outbound": { $0.outboundMigrations > 0 ? String($0.outboundMigrations) : nil },
            "Failed_lately": { $0.recentFailures > 0 ? String($0.recentFailures) : nil },
        ])

    static func one(_ host: HostView) -> String {
        Table(fields: [
            "id": host.id,
            "name": host.name,
            "status": host.condition.rawValue,
            "host_status": host.status.rawValue,
            "enabled": String(host.enabled),
            "maintenance": host.maintenance ? "true: nothing is placed here" : nil,
            "auto_migrate_on_host_down": host.autoMigrateOnHostDown ? "enable" : "disable",
            "auto_migrate_on_host_shutdown": host.autoMigrateOnHostShutdown ? "enable" : "disable",
            "guard": guardian(host),
            "down_note": host.downNote.map { $0.wrapped(80) },
            "access_ip": host.accessAddress,
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
            "kept": host.kept.map { $0.joined(separator: "\n") },
            "running_guests": host.runningGuests.map(String.init),
            "inbound_migrations": host.inboundMigrations > 0 ? String(host.inboundMigrations) : nil,
            "outbound_migrations": host.outboundMigrations > 0 ? String(host.outboundMigrations) : nil,
            "failed_lately": host.recentFailures > 0 ? String(host.recentFailures) : nil,
            "warnings": host.warnings.map { $0.wrapped(80) }.joined(separator: "\n"),
            "drain": host.drain.map(drain),
        ]).text
    }

    /// What the guard's state means for the switch.
    private static func guardian(_ host: HostView) -> String {
        let watchdog = host.hasWatchdog ? ", with a watchdog" : ""
        switch host.guardian {
        case .confirmed: return "confirmed\(watchdog): the host's death can be proven"
        case .leaseOver: return "lease-over: servers on shared storage are not started here"
        case .absent, .leaving, .serving:
            return host.autoMigrateOnHostDown
                ? "\(host.guardian.rawValue): should the host die nothing proves it, and nothing is started elsewhere"
                : host.guardian.rawValue + watchdog
        }
    }

    private static func drain(_ drain: DrainView) -> String {
        guard let batch = drain.batch else { return drain.staying.isEmpty ? "no server is here" : "nothing can leave now" }
        let state = "\(batch.status.rawValue), \(batch.ready) of \(batch.total) servers gone"
        return "batch \(batch.name): \(state)\nbatch-watch \(batch.id) follows it"
    }

    /// The servers that do not leave a host whose maintenance began, with a footer; nothing where there are none.
    static func staying(_ host: HostView) -> String {
        guard let staying = host.drain?.staying, !staying.isEmpty else { return "" }
        let rows: [[String?]] = staying.map { [$0.id, $0.reason.code.value, $0.reason.message.wrapped(80)] }
        return Table(["Server", "Reason", "Stays because"], rows: rows).text + Table.footer(total: rows.count, shown: rows.count) + "\n"
    }

    /// Without a point where none is needed.
    private static func number(_ value: Double) -> String { value == value.rounded() ? String(Int64(value)) : String(value) }
}
