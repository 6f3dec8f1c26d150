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
    /// A path on the host; the drive is there and empty when it is "".
    package var cdrom: String?
    /// Nil for a server without one.
    package var tpm: TPM?
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
        /// What the disk rests on (copy on write), the nearest first; nil for a disk that stands alone.
        package var bases: [BaseImage]?

        package init(
            name: String, sizeBytes: Int64, format: DiskFormat, bus: DiskBus, storage: String, bases: [BaseImage]? = nil
        ) {
            self.name = name
            self.sizeBytes = sizeBytes
            self.format = format
            self.bus = bus
            self.storage = storage
            self.bases = bases
        }
    }

    /// A read-only image that disks rest on. It lies beside the disks of every storage that has one resting on it, under a name made of
    /// its content, so that the same name is the same image on every host.
    package struct BaseImage: Hashable, Sendable, Codable {
        /// Hash of the file's content, with the format as suffix.
        package var name: String
        package var format: DiskFormat
        /// Virtual size in bytes.
        package var sizeBytes: Int64

        package init(name: String, format: DiskFormat, sizeBytes: Int64) {
            self.name = name
            self.format = format
            self.sizeBytes = sizeBytes
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
        accelerator: Accelerator, firmware: Firmware, boot: DirectBoot?, disks: [Disk], cdrom: String?, tpm: TPM? = nil, nics: [NIC]
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
        self.tpm = tpm
        self.nics = nics
    }
}
