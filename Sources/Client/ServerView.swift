package import Fleet

/// A server as the API shows it.
package struct ServerView: Hashable, Sendable, Codable {
    package var id: String
    package var name: String
    package var status: ShownStatus
    package var host: Named
    package var vcpus: Int
    /// MiB, as asked for; the guest may be given a few KiB more (see ``Accelerator``).
    package var memoryMB: Int64
    package var cpuModel: String
    package var machine: String
    package var accelerator: Accelerator
    package var firmware: Firmware
    package var boot: BootView?
    package var disks: [DiskView]
    /// "" is an empty drive.
    package var cdrom: String?
    package var tpm: TPM?
    package var nics: [NICView]
    /// Path on the host of the serial console's log; only where one server is shown and its agent answers.
    package var consoleLog: String?
    package var epoch: Int64
    /// Why it is in an unexpected status, when it is.
    package var note: Reason?
    /// The id of its unfinished migration.
    package var migration: String?
    package var createdAt: WireTime

    package init(
        id: String, name: String, status: ShownStatus, host: Named, vcpus: Int, memoryMB: Int64, cpuModel: String, machine: String,
        accelerator: Accelerator, firmware: Firmware, boot: BootView? = nil, disks: [DiskView] = [], cdrom: String? = nil,
        tpm: TPM? = nil, nics: [NICView] = [], consoleLog: String? = nil, epoch: Int64, note: Reason? = nil, migration: String? = nil,
        createdAt: WireTime
    ) {
        self.id = id
        self.name = name
        self.status = status
        self.host = host
        self.vcpus = vcpus
        self.memoryMB = memoryMB
        self.cpuModel = cpuModel
        self.machine = machine
        self.accelerator = accelerator
        self.firmware = firmware
        self.boot = boot
        self.disks = disks
        self.cdrom = cdrom
        self.tpm = tpm
        self.nics = nics
        self.consoleLog = consoleLog
        self.epoch = epoch
        self.note = note
        self.migration = migration
        self.createdAt = createdAt
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, name, status, host, vcpus
        case memoryMB = "memory_mb"
        case cpuModel = "cpu_model"
        case machine, accelerator, firmware, boot, disks, cdrom, tpm, nics
        case consoleLog = "console_log"
        case epoch, note, migration
        case createdAt = "created_at"
    }
}

/// A disk of a server.
package struct DiskView: Hashable, Sendable, Codable {
    package var name: String
    /// Virtual size in bytes.
    package var sizeBytes: Int64
    package var format: DiskFormat
    package var bus: DiskBus
    package var storage: String
    /// Name of the base image that it rests on, made of that one's content.
    package var base: String?

    package init(name: String, sizeBytes: Int64, format: DiskFormat, bus: DiskBus, storage: String, base: String? = nil) {
        self.name = name
        self.sizeBytes = sizeBytes
        self.format = format
        self.bus = bus
        self.storage = storage
        self.base = base
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case name
        case sizeBytes = "size_bytes"
        case format, bus, storage, base
    }
}

/// A network card of a server.
package struct NICView: Hashable, Sendable, Codable {
    package var name: String
    package var network: String
    package var mac: String

    package init(name: String, network: String, mac: String) {
        self.name = name
        self.network = network
        self.mac = mac
    }
}

/// A direct kernel boot: in requests and views alike. Paths are paths on the host.
package struct BootView: Hashable, Sendable, Codable {
    package var kernel: String
    package var initrd: String?
    package var commandLine: String?

    package init(kernel: String, initrd: String? = nil, commandLine: String? = nil) {
        self.kernel = kernel
        self.initrd = initrd
        self.commandLine = commandLine
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case kernel, initrd
        case commandLine = "command_line"
    }
}
