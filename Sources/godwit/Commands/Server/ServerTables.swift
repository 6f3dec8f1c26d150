import Client
import Fleet
import Output

/// Servers as tables.
enum ServerTables {
    /// climc's columns and two of ours (Migration, Note), which show only where they say something.
    static let columns = Columns<ServerView>(
        usual: ["ID", "Name", "Status", "vcpu_count", "vmem_size", "Disk", "Host", "Hypervisor", "Migration", "Note"],
        details: ["Host_id", "machine", "cpu_model", "accelerator", "firmware", "Storages", "Networks", "MACs", "cdrom", "Created_at"],
        cells: [
            "Disk": { $0.disks.map { Amounts.size($0.sizeBytes) }.joined(separator: ",") },
            "Note": { $0.note?.message.wrapped(60) },
        ])

    static func one(_ server: ServerView) -> String {
        Table(fields: [
            "id": server.id,
            "name": server.name,
            "status": server.status.rawValue,
            "note": server.note?.message.wrapped(80),
            "host": server.host.name,
            "migration": server.migration,
            "vcpus": String(server.vcpus),
            "memory_mb": String(server.memoryMB),
            "cpu_model": server.cpuModel,
            "machine": server.machine,
            "accelerator": server.accelerator.rawValue,
            "firmware": server.firmware.rawValue,
            "kernel": server.boot?.kernel,
            "initrd": server.boot?.initrd,
            "command_line": server.boot?.commandLine?.wrapped(80),
            "disks": server.disks.map {
                "\($0.name)  \(Amounts.size($0.sizeBytes))  \($0.format.rawValue)  \($0.bus.rawValue)  \($0.storage)\($0.base.map { "  on \($0)" } ?? "")"
            }.joined(separator: "\n"),
            "cdrom": server.cdrom.map { $0.isEmpty ? "(empty)" : $0 },
            "tpm": server.tpm?.rawValue,
            "nics": server.nics.map { "\($0.name)  \($0.network)  \($0.mac)" }.joined(separator: "\n"),
            "console_log": server.consoleLog,
            "created_at": server.createdAt.description,
        ]).text
    }
}
