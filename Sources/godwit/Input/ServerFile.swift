import Client
import Fleet

/// A server written down as YAML, for `server-create -f`: the API's words, with `size: 10G` for disks besides `size_bytes`.
enum ServerFile {
    static let keys = CreateServerRequest.CodingKeys.allCases.map(\.rawValue)
    static let bootKeys = BootView.CodingKeys.allCases.map(\.rawValue)
    static let diskKeys = ["size"] + DiskRequest.CodingKeys.allCases.map(\.rawValue)
    static let nicKeys = NICRequest.CodingKeys.allCases.map(\.rawValue)

    /// - Parameter file: its name, for complaints.
    /// - Returns: the server; its name is empty where the file gives none.
    static func parse(_ text: String, file: String) throws(InputError) -> CreateServerRequest {
        let server = try YAMLFields(try YAMLFields.document(text, file: file), subject: "server", known: keys, file: file)
        var request = CreateServerRequest(name: try server.string("name") ?? "")
        request.vcpus = try server.count("vcpus").map(Int.init)
        request.memoryMB = try server.count("memory_mb")
        request.cpuModel = try server.string("cpu_model")
        request.machine = try server.string("machine")
        request.accelerator = try server.choice("accelerator", Accelerator.self)
        request.firmware = try server.choice("firmware", Firmware.self)
        request.cdrom = try server.hostPath("cdrom")
        request.tpm = try server.choice("tpm", TPM.self)
        request.preferHost = try server.string("prefer_host")
        request.group = try server.string("group")
        if let boot = try server.fields("boot", subject: "boot", known: bootKeys) {
            guard let kernel = try boot.hostPath("kernel") else { throw server.complaint("boot", "boot needs a kernel.") }
            request.boot = BootView(
                kernel: kernel, initrd: try boot.hostPath("initrd"), commandLine: try boot.string("command_line"))
        }
        if let disks = try server.list("disks", subject: "disk", known: diskKeys) {
            var requests: [DiskRequest] = []
            for disk in disks { requests.append(try self.disk(disk)) }
            request.disks = requests
        }
        if let nics = try server.list("nics", subject: "nic", known: nicKeys) {
            var requests: [NICRequest] = []
            for nic in nics { requests.append(try self.nic(nic)) }
            request.nics = requests
        }
        return request
    }

    private static func disk(_ fields: YAMLFields) throws(InputError) -> DiskRequest {
        var disk = DiskRequest()
        disk.sizeBytes = try fields.count("size_bytes")
        if let size = try fields.string("size") {
            guard disk.sizeBytes == nil else { throw fields.complaint("size", "a disk has a size or size_bytes, not both.") }
            guard let bytes = ByteSize.bytes(size) else {
                throw fields.complaint("size", "size “\(size)” is no size; write it like 10G or 512M.")
            }
            disk.sizeBytes = bytes
        }
        disk.format = try fields.choice("format", DiskFormat.self)
        disk.bus = try fields.choice("bus", DiskBus.self)
        disk.storage = try fields.string("storage")
        disk.image = try fields.hostPath("image")
        disk.base = try fields.hostPath("base")
        guard disk.sizeBytes != nil || disk.image != nil || disk.base != nil else {
            throw fields.complaint(
                "", "a disk needs a size (size: 10G), an image (image: /path/on/the/host) or a base (base: /path/on/the/host).")
        }
        if let obstacle = DeviceFlags.obstacle(disk) { throw fields.complaint("base", obstacle) }
        return disk
    }

    private static func nic(_ fields: YAMLFields) throws(InputError) -> NICRequest {
        guard let network = try fields.string("network") else { throw fields.complaint("", "a nic needs a network (network: default).") }
        let mac = try fields.string("mac")
        return NICRequest(
            network: network,
            mac: try fields.read("mac") { () throws(InputError) in try mac.map { text throws(InputError) in try DeviceFlags.mac(text) } })
    }
}
