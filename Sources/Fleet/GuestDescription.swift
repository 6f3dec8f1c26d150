/// Everything that a QEMU needs to be this server's guest, the same on every host: two agents that build a command line from
/// equal descriptions build guests that can hand each other their state (same machine type, models, bus addresses).
///
/// Nothing in it depends on the host; where its disks lie and how its networks are attached each agent resolves by name.
package struct GuestDescription: Hashable, Sendable, Codable {
    package var server: ServerID
    package var name: String
    package var vcpus: Int
    /// Bytes of RAM as given to QEMU; under TCG it may be 8 KiB more than the server's memory (see ``Accelerator``).
    package var memoryBytes: Int64
    /// Versioned (`qemu64-v1`).
    package var cpuModel: String
    /// Versioned (`pc-i440fx-7.2`).
    package var machine: String
    /// Never `auto`.
    package var accelerator: Accelerator
    package var firmware: Firmware
    package var boot: DirectBoot?
    package var disks: [Disk]
    package var cdrom: String?
    package var nics: [NIC]

    package struct Disk: Hashable, Sendable, Codable {
        /// `disk0`, `disk1`, …: QEMU's node name and device id, the NBD export's name, and the file's name before its suffix.
        package var name: String
        /// Virtual size in bytes.
        package var sizeBytes: Int64
        package var format: DiskFormat
        package var bus: DiskBus
        /// Name of the storage, on whichever host it is.
        package var storage: String

        package init(name: String, sizeBytes: Int64, format: DiskFormat, bus: DiskBus, storage: String) {
            self.name = name
            self.sizeBytes = sizeBytes
            self.format = format
            self.bus = bus
            self.storage = storage
        }
    }

    package struct NIC: Hashable, Sendable, Codable {
        /// `nic0`, `nic1`, ….
        package var name: String
        package var network: String
        package var mac: String

        package init(name: String, network: String, mac: String) {
            self.name = name
            self.network = network
            self.mac = mac
        }
    }

    package init(
        server: ServerID, name: String, vcpus: Int, memoryBytes: Int64, cpuModel: String, machine: String,
        accelerator: Accelerator, firmware: Firmware, boot: DirectBoot?, disks: [Disk], cdrom: String?, nics: [NIC]
    ) {
        self.server = server
        self.name = name
        self.vcpus = vcpus
        self.memoryBytes = memoryBytes
        self.cpuModel = cpuModel
        self.machine = machine
        self.accelerator = accelerator
        self.firmware = firmware
        self.boot = boot
        self.disks = disks
        self.cdrom = cdrom
        self.nics = nics
    }
}
