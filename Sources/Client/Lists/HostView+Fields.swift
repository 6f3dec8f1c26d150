import Fleet
import Foundation

extension HostView: Listed {
    package static var kind: String { "host" }
    package static var ordinaryOrder: String { "name" }

    package static var fields: [Field<HostView>] {
        [
            Field("ID") { .text($0.id) },
            Field("Name") { .text($0.name) },
            Field("Access_ip") { FieldValue($0.accessAddress) },
            Field("Status") { .text($0.condition.rawValue) },
            Field("enabled") { FieldValue($0.enabled) },
            Field("auto_migrate_on_host_down") { FieldValue($0.autoMigrateOnHostDown) },
            Field("auto_migrate_on_host_shutdown") { FieldValue($0.autoMigrateOnHostShutdown) },
            Field("Guard") { .text($0.guardian.rawValue) },
            Field("host_status") { .text($0.status.rawValue) },
            Field("Guests") { FieldValue($0.guests) },
            Field("Running_guests") { FieldValue($0.runningGuests) },
            Field("cpu_count", "cpus") { FieldValue($0.cpus) },
            Field("vcpus_taken", "cpu_commit") { .number(Int64($0.vcpusTaken)) },
            Field("mem_size", "memory_total_mb") { FieldValue($0.memoryTotalMB) },
            Field("mem_taken", "memory_taken_mb", "mem_commit") { .number($0.memoryTakenMB) },
            Field("Storage_free") { .number($0.storages.reduce(0) { $0 + $1.freeBytes }) },
            Field("Inbound", "inbound_migrations") { .number(Int64($0.inboundMigrations)) },
            Field("Outbound", "outbound_migrations") { .number(Int64($0.outboundMigrations)) },
            Field("Failed_lately", "recent_failures") { .number(Int64($0.recentFailures)) },
            Field("Hypervisor", "host_type") { _ in .text("kvm") },
            Field("cpu_desc", "cpu_model") { FieldValue($0.cpuModel) },
            Field("cpu_microcode", "microcode") { FieldValue($0.microcode) },
            Field("cpu_architecture", "architecture") { FieldValue($0.architecture) },
            Field("kernel_version", "kernel") { FieldValue($0.kernel) },
            Field("qemu_version") { FieldValue($0.qemuVersion) },
            Field("accelerator") { FieldValue($0.accelerator?.rawValue) },
            Field("Storages") { FieldValue($0.storages.map(\.name)) },
            Field("Networks") { FieldValue($0.networks.map(\.name)) },
            Field("Agent", "agent_url") { .text($0.agentURL) },
        ]
    }

    /// Where its agent listens, without scheme and port.
    package var accessAddress: String? { URLComponents(string: agentURL)?.host }
}
