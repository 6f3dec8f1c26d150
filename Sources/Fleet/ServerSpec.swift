/// What an owner asks a server to be. What is left out is filled in when the server is created and stays the same for its life.
package struct ServerSpec: Hashable, Sendable, Codable {
    package var name: String
    package var vcpus: Int
    /// MiB.
    package var memoryMB: Int64
    /// QEMU's name of a CPU model; the agent's default when nil. Resolved to a versioned one (`qemu64-v1`) at creation.
    package var cpuModel: String?
    /// QEMU's name of a machine type (`pc`, `q35`, `pc-i440fx-7.2`); pinned to a versioned one at creation.
    package var machine: String?
    package var accelerator: Accelerator
    package var firmware: Firmware
    package var boot: DirectBoot?
    package var disks: [DiskSpec]
    /// A path on the host of an ISO image; read-only.
    package var cdrom: String?
    package var tpm: TPM?
    package var nics: [NICSpec]

    package init(
        name: String, vcpus: Int = 1, memoryMB: Int64 = 512, cpuModel: String? = nil, machine: String? = nil,
        accelerator: Accelerator = .auto, firmware: Firmware = .bios, boot: DirectBoot? = nil, disks: [DiskSpec] = [],
        cdrom: String? = nil, tpm: TPM? = nil, nics: [NICSpec] = []
    ) {
        self.name = name
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
    }
}

/// What executes a guest's instructions.
package enum Accelerator: String, Sendable, Codable, CaseIterable {
    /// KVM where a probe shows that it runs guests, else TCG with a warning.
    case auto
    case kvm
    case tcg
}

package enum Firmware: String, Sendable, Codable, CaseIterable {
    case bios
    /// OVMF; its variable store is a file of the server that is kept and moves with it.
    case uefi
}

/// A trusted platform module, emulated by swtpm; its state is kept and moves with the server.
package enum TPM: String, Sendable, Codable, CaseIterable {
    case v2 = "2.0"
}

/// Boot of a kernel that the host reads, without a boot loader in the guest. Paths are paths on the host.
package struct DirectBoot: Hashable, Sendable, Codable {
    package var kernel: String
    package var initrd: String?
    package var commandLine: String

    package init(kernel: String, initrd: String? = nil, commandLine: String = "") {
        self.kernel = kernel
        self.initrd = initrd
        self.commandLine = commandLine
    }
}

package enum DiskFormat: String, Sendable, Codable, CaseIterable {
    case qcow2
    case raw
}

package enum DiskBus: String, Sendable, Codable, CaseIterable {
    case virtioBlk = "virtio-blk"
    case virtioSCSI = "virtio-scsi"
}

package struct DiskSpec: Hashable, Sendable, Codable {
    /// Virtual size in bytes. Nil takes the image's.
    package var sizeBytes: Int64?
    package var format: DiskFormat
    package var bus: DiskBus
    /// Name of the storage; nil takes the host's first local one with room.
    package var storage: String?
    /// A path on the host of an image whose content the new disk starts with; empty disk when nil.
    package var image: String?
    /// A path on the host of an image that the new disk rests on, copy on write; not together with `image`.
    package var base: String?

    package init(
        sizeBytes: Int64? = nil, format: DiskFormat = .qcow2, bus: DiskBus = .virtioBlk, storage: String? = nil, image: String? = nil,
        base: String? = nil
    ) {
        self.sizeBytes = sizeBytes
        self.format = format
        self.bus = bus
        self.storage = storage
        self.image = image
        self.base = base
    }
}

package struct NICSpec: Hashable, Sendable, Codable {
    /// Name of the network.
    package var network: String
    /// Six octets in hexadecimal with colons; given out at creation when nil.
    package var mac: String?

    package init(network: String, mac: String? = nil) {
        self.network = network
        self.mac = mac
    }
}
