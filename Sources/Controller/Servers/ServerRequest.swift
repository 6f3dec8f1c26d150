import Client
import Fleet
import Foundation

/// A request for a server, read and checked as far as that goes without knowing the fleet.
struct ServerRequest {
    var spec: ServerSpec
    /// Id or name of the host it must be on.
    var preferHost: String?
    /// Id or name of the server group that it shall be in.
    var group: String?

    /// The least that a guest with a BIOS gets to its first instruction of an operating system with.
    static let memoryMB: ClosedRange<Int64> = 16...(16 << 20)
    static let vcpus: ClosedRange<Int64> = 1...255
    /// 1 MiB to 64 TiB.
    static let diskBytes: ClosedRange<Int64> = (1 << 20)...(64 << 40)

    /// - Throws: ``Problem`` `invalid-request` with the field.
    init(_ fields: inout Fields) throws {
        let name = try fields.requiredString("name", "web1")
        try Self.check(name: name, field: fields.path("name"))
        var spec = ServerSpec(name: name)
        if let vcpus = try fields.integer("vcpus", in: Self.vcpus, unit: "vCPUs") { spec.vcpus = Int(vcpus) }
        if let memory = try fields.integer("memory_mb", in: Self.memoryMB, unit: "MiB") { spec.memoryMB = memory }
        spec.cpuModel = try fields.string("cpu_model")
        spec.machine = try fields.string("machine")
        if let accelerator = try fields.choice("accelerator", Accelerator.self) { spec.accelerator = accelerator }
        if let firmware = try fields.choice("firmware", Firmware.self) { spec.firmware = firmware }
        spec.boot = try fields.object("boot") { fields in
            guard let kernel = try fields.hostPath("kernel") else {
                throw Problem.invalid(fields.path("kernel"), "\(fields.path("kernel")) is missing; give the kernel's path on the host.")
            }
            return DirectBoot(
                kernel: kernel, initrd: try fields.hostPath("initrd"),
                commandLine: try fields.string("command_line", mayBeEmpty: true) ?? "")
        }
        spec.disks = try fields.objects("disks", limit: 16, Self.disk)
        spec.cdrom = try fields.hostPath("cdrom")
        spec.tpm = try fields.choice("tpm", TPM.self)
        spec.nics = try fields.objects("nics", limit: 8, Self.nic)
        self.preferHost = try fields.string("prefer_host")
        self.group = try fields.string("group")
        try fields.finish()
        if spec.boot != nil, spec.firmware == .uefi {
            throw Problem.invalid("boot", "boot.kernel needs the BIOS firmware; leave out either the kernel or firmware: uefi.")
        }
        var macs: Set<String> = []
        for (index, nic) in spec.nics.enumerated() {
            guard let mac = nic.mac, !macs.insert(mac).inserted else { continue }
            throw Problem.invalid(
                "nics[\(index)].mac", "nics[\(index)].mac is \(mac), which another nic of the server has; give each its own.")
        }
        self.spec = spec
    }

    private static func disk(_ fields: inout Fields) throws -> DiskSpec {
        var disk = DiskSpec()
        disk.sizeBytes = try fields.integer("size_bytes", in: diskBytes, unit: "bytes")
        if let size = disk.sizeBytes, size % 512 != 0 {
            let field = fields.path("size_bytes")
            throw Problem.invalid(field, "\(field) is \(size); it must be a multiple of 512 bytes.")
        }
        if let format = try fields.choice("format", DiskFormat.self) { disk.format = format }
        if let bus = try fields.choice("bus", DiskBus.self) { disk.bus = bus }
        disk.storage = try fields.string("storage")
        disk.image = try fields.hostPath("image")
        disk.base = try fields.hostPath("base")
        if disk.base != nil {
            let field = fields.path("base")
            if disk.image != nil {
                throw Problem.invalid(field, "\(field) and image cannot both be given; a disk is a copy of an image or rests on a base.")
            }
            if disk.format != .qcow2 {
                throw Problem.invalid(field, "\(field) needs the format qcow2; a raw disk cannot rest on another image.")
            }
        }
        if disk.image == nil, disk.base == nil, disk.sizeBytes == nil {
            let field = fields.path("size_bytes")
            throw Problem.invalid(field, "\(field) is missing; give the disk's size in bytes, or an image or a base to take it from.")
        }
        return disk
    }

    private static func nic(_ fields: inout Fields) throws -> NICSpec {
        let network = try fields.requiredString("network", "lan")
        let mac = try fields.string("mac").map { text in
            guard let mac = MACAddress(text) else {
                let field = fields.path("mac")
                throw Problem.invalid(
                    field, "\(field) is “\(text)”; it must be six octets such as 52:54:00:12:34:56, and no multicast address.")
            }
            return mac.description
        }
        return NICSpec(network: network, mac: mac)
    }

    private static func check(name: String, field: String) throws {
        try Names.check(name, field: field)
        // Servers are named by name or id alike: none may be called as another could be identified.
        guard UUID(uuidString: name) == nil else {
            throw Problem.invalid(field, "\(field) is “\(name)”, which is written like an id; choose another name.")
        }
    }
}
