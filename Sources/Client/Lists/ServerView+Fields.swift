import Fleet

extension ServerView: Listed {
    package static var kind: String { "server" }
    package static var ordinaryOrder: String { "created_at" }

    package static var fields: [Field<ServerView>] {
        [
            Field("ID") { .text($0.id) },
            Field("Name") { .text($0.name) },
            Field("Status") { .text($0.status.rawValue) },
            Field("vcpu_count", "vcpus") { .number(Int64($0.vcpus)) },
            Field("vmem_size", "memory_mb") { .number($0.memoryMB) },
            Field("Disk", "disk_bytes") { .number($0.disks.reduce(0) { $0 + $1.sizeBytes }) },
            Field("Host") { FieldValue($0.host.name) },
            Field("Hypervisor") { _ in .text("kvm") },
            Field("Migration") { FieldValue($0.migration) },
            Field("Note") { FieldValue($0.note?.message) },
            Field("Host_id") { .text($0.host.id) },
            Field("machine") { FieldValue($0.machine) },
            Field("cpu_model") { FieldValue($0.cpuModel) },
            Field("accelerator") { .text($0.accelerator.rawValue) },
            Field("firmware", "bios") { .text($0.firmware.rawValue) },
            Field("Storages") { FieldValue(Array(Set($0.disks.map(\.storage))).sorted()) },
            Field("Networks") { FieldValue($0.nics.map(\.network)) },
            Field("MACs") { FieldValue($0.nics.map(\.mac)) },
            Field("cdrom") { FieldValue($0.cdrom) },
            Field("epoch") { .number($0.epoch) },
            Field("Created_at") { .text($0.createdAt.description) },
        ]
    }
}
