import ArgumentParser
import Client
import Fleet
import Foundation
import Output

struct ServerCreate: ControllerCommand {
    static let configuration = CommandConfiguration(
        abstract: "Create a server with its disks; it stays off.",
        discussion: """
            Paths of images, kernels and ISO files are paths on the host. A disk with image= starts as a copy of that image; one with base= \
            rests on it, copy on write: the base is taken into the storage once, with all that it rests on itself, and moves with the \
            server. With -f the server is read from a YAML file; a flag given beside \
            it replaces what the file says.
            """)

    @Argument(help: "Name of the server.")
    var name: String?

    @Option(
        name: [.customShort("f"), .long],
        help: ArgumentHelp("Read the server from a YAML file; - is standard input.", valueName: "server.yaml"))
    var file: String?

    @Option(help: "Virtual CPUs, 1 to 255 (1).")
    var vcpus: Int?

    @Option(help: "Memory in MiB, from 16 (512).")
    var memoryMb: Int64?

    @Option(help: "QEMU's name of a CPU model.")
    var cpuModel: String?

    @Option(help: "QEMU's name of a machine type: pc, q35, pc-i440fx-7.2.")
    var machine: String?

    @Option(
        help: ArgumentHelp("\(Choices.list(Accelerator.self)).", valueName: "accelerator"),
        transform: { try Choices.parse($0, as: Accelerator.self, field: "accelerator") })
    var accelerator: Accelerator?

    @Option(
        help: ArgumentHelp("\(Choices.list(Firmware.self)).", valueName: "firmware"),
        transform: { try Choices.parse($0, as: Firmware.self, field: "firmware") })
    var firmware: Firmware?

    @Option(
        name: .customLong("disk"),
        help: ArgumentHelp(
            "A disk; can be given up to 16 times. size=10G,format=qcow2,bus=virtio-blk,storage=local,image=/path,base=/path",
            valueName: "disk"),
        transform: { try DeviceFlags.disk($0) })
    var disks: [DiskRequest] = []

    @Option(help: "An ISO image on the host.", transform: { try Choices.hostPath($0, field: "cdrom") })
    var cdrom: String?

    @Option(
        help: ArgumentHelp("A trusted platform module: \(Choices.list(TPM.self)). It moves with the server.", valueName: "version"),
        transform: { try Choices.parse($0, as: TPM.self, field: "tpm") })
    var tpm: TPM?

    @Option(
        name: .customLong("nic"),
        help: ArgumentHelp("A network card; can be given up to 8 times. network=default,mac=52:54:00:12:34:56", valueName: "nic"),
        transform: { try DeviceFlags.nic($0) })
    var nics: [NICRequest] = []

    @Option(help: "A kernel on the host to boot directly.", transform: { try Choices.hostPath($0, field: "kernel") })
    var kernel: String?

    @Option(help: "With --kernel: an initial RAM disk on the host.", transform: { try Choices.hostPath($0, field: "initrd") })
    var initrd: String?

    @Option(help: ArgumentHelp("With --kernel: its command line.", valueName: "command-line"))
    var append: String?

    @Option(help: ArgumentHelp("Id or name of the host it must be on.", valueName: "host"))
    var preferHost: String?

    @Option(help: ArgumentHelp("Id or name of the server group that it shall be in.", valueName: "group"))
    var group: String?

    @OptionGroup var output: OutputOptions
    @OptionGroup var connection: ConnectionOptions

    func validate() throws {
        guard name != nil || file != nil else { throw ValidationError("a server needs a name: give one, or -f server.yaml.") }
        if let vcpus, vcpus < 1 { throw ValidationError("--vcpus must be at least 1.") }
        if let memoryMb, memoryMb < 1 { throw ValidationError("--memory-mb must be at least 1.") }
        if kernel == nil && file == nil && (initrd != nil || append != nil) {
            throw ValidationError("--initrd and --append have a meaning only with --kernel.")
        }
    }

    func run() async throws {
        // Before the controller is asked for anything: a broken file is told also where there is none.
        let request = try request()
        try await connection.withClient { client in
            let server = try await client.createServer(request)
            try output.output.print(server, table: ServerTables.one(server))
        }
    }

    func run(_ client: GodwitClient) async throws {}

    /// The file's server with the flags laid over it.
    func request() throws -> CreateServerRequest {
        var request = try file.map(Self.read) ?? CreateServerRequest(name: "")
        if let name { request.name = name }
        guard !request.name.isEmpty else {
            throw CommandFailure.usage("\(file ?? "The server") gives no name: add a line “name: …”, or give it on the command line.")
        }
        request.vcpus = vcpus ?? request.vcpus
        request.memoryMB = memoryMb ?? request.memoryMB
        request.cpuModel = cpuModel ?? request.cpuModel
        request.machine = machine ?? request.machine
        request.accelerator = accelerator ?? request.accelerator
        request.firmware = firmware ?? request.firmware
        request.cdrom = cdrom ?? request.cdrom
        request.tpm = tpm ?? request.tpm
        request.preferHost = preferHost ?? request.preferHost
        request.group = group ?? request.group
        if !disks.isEmpty { request.disks = disks }
        if !nics.isEmpty { request.nics = nics }
        if kernel != nil || initrd != nil || append != nil {
            guard let kernel = kernel ?? request.boot?.kernel else {
                throw CommandFailure.usage("--initrd and --append have a meaning only with a kernel.")
            }
            request.boot = BootView(
                kernel: kernel, initrd: initrd ?? request.boot?.initrd, commandLine: append ?? request.boot?.commandLine)
        }
        return request
    }

    private static func read(_ file: String) throws -> CreateServerRequest {
        let data: Data
        do {
            data = file == "-" ? try FileHandle.standardInput.readToEnd() ?? Data() : try Data(contentsOf: URL(fileURLWithPath: file))
        } catch {
            throw CommandFailure.usage("Cannot read \(file): \(error.localizedDescription)")
        }
        do {
            return try ServerFile.parse(String(decoding: data, as: UTF8.self), file: file == "-" ? "standard input" : file)
        } catch {
            throw CommandFailure.usage(error.message)
        }
    }
}
