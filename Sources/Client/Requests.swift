package import Fleet

/// `POST /v1/servers`: what an owner asks a server to be. What is left out (nil) is filled in by the controller or the agent.
package struct CreateServerRequest: Hashable, Sendable, Codable {
    package var name: String
    /// 1 when nil.
    package var vcpus: Int?
    /// MiB; 512 when nil.
    package var memoryMB: Int64?
    package var cpuModel: String?
    package var machine: String?
    package var accelerator: Accelerator?
    package var firmware: Firmware?
    package var boot: BootView?
    package var disks: [DiskRequest]?
    /// A path on the host of an ISO image.
    package var cdrom: String?
    package var tpm: TPM?
    package var nics: [NICRequest]?
    /// Id or name of the host it must be on; the controller chooses when nil.
    package var preferHost: String?
    /// Id or name of the server group that it shall be in.
    package var group: String?

    package init(
        name: String, vcpus: Int? = nil, memoryMB: Int64? = nil, cpuModel: String? = nil, machine: String? = nil,
        accelerator: Accelerator? = nil, firmware: Firmware? = nil, boot: BootView? = nil, disks: [DiskRequest]? = nil,
        cdrom: String? = nil, tpm: TPM? = nil, nics: [NICRequest]? = nil, preferHost: String? = nil, group: String? = nil
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
        self.preferHost = preferHost
        self.group = group
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case name, vcpus
        case memoryMB = "memory_mb"
        case cpuModel = "cpu_model"
        case machine, accelerator, firmware, boot, disks, cdrom, tpm, nics
        case preferHost = "prefer_host"
        case group
    }
}

package struct DiskRequest: Hashable, Sendable, Codable {
    /// Virtual size in bytes. Nil takes the image's.
    package var sizeBytes: Int64?
    /// qcow2 when nil.
    package var format: DiskFormat?
    /// virtio-blk when nil.
    package var bus: DiskBus?
    /// Name of the storage; nil takes the host's local one with the most room.
    package var storage: String?
    /// A path on the host of an image whose content the new disk starts with; an empty disk when nil.
    package var image: String?
    /// A path on the host of an image that the new disk rests on, copy on write; not together with `image`.
    package var base: String?

    package init(
        sizeBytes: Int64? = nil, format: DiskFormat? = nil, bus: DiskBus? = nil, storage: String? = nil, image: String? = nil,
        base: String? = nil
    ) {
        self.sizeBytes = sizeBytes
        self.format = format
        self.bus = bus
        self.storage = storage
        self.image = image
        self.base = base
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case sizeBytes = "size_bytes"
        case format, bus, storage, image, base
    }
}

package struct NICRequest: Hashable, Sendable, Codable {
    package var network: String
    /// Given out by the controller when nil.
    package var mac: String?

    package init(network: String, mac: String? = nil) {
        self.network = network
        self.mac = mac
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case network, mac
    }
}

/// `POST /v1/servers/{ref}/stop`.
package struct StopServerRequest: Hashable, Sendable, Codable {
    /// How long the guest may take after its power button was pressed until its QEMU is ended, in milliseconds; 0 ends it at once.
    package var graceMS: Int64?

    package init(graceMS: Int64? = nil) {
        self.graceMS = graceMS
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case graceMS = "grace_ms"
    }
}

/// `POST /v1/servers/{ref}/live-migrate`: the seven flags of climc's `server-live-migrate`. The controller refuses (400 `not-supported`)
/// those that do not work yet rather than to ignore them.
package struct LiveMigrateRequest: Hashable, Sendable, Codable {
    /// Id or name of the only host to be considered.
    package var preferHost: String?
    /// MB/s (10⁶ bytes a second) over disk and memory together; at least 1; nil is without limit.
    package var maxBandwidthMB: Int64?
    package var skipCPUCheck: Bool?
    package var skipKernelCheck: Bool?
    /// Not supported yet.
    package var enableTLS: Bool?
    /// Not supported yet.
    package var quicklyFinish: Bool?
    /// Not supported yet.
    package var keepDestGuestOnFailed: Bool?

    package init(
        preferHost: String? = nil, maxBandwidthMB: Int64? = nil, skipCPUCheck: Bool? = nil, skipKernelCheck: Bool? = nil,
        enableTLS: Bool? = nil, quicklyFinish: Bool? = nil, keepDestGuestOnFailed: Bool? = nil
    ) {
        self.preferHost = preferHost
        self.maxBandwidthMB = maxBandwidthMB
        self.skipCPUCheck = skipCPUCheck
        self.skipKernelCheck = skipKernelCheck
        self.enableTLS = enableTLS
        self.quicklyFinish = quicklyFinish
        self.keepDestGuestOnFailed = keepDestGuestOnFailed
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case preferHost = "prefer_host"
        case maxBandwidthMB = "max_bandwidth_mb"
        case skipCPUCheck = "skip_cpu_check"
        case skipKernelCheck = "skip_kernel_check"
        case enableTLS = "enable_tls"
        case quicklyFinish = "quickly_finish"
        case keepDestGuestOnFailed = "keep_dest_guest_on_failed"
    }
}

/// `POST /v1/hosts`.
package struct RegisterHostRequest: Hashable, Sendable, Codable {
    package var name: String
    /// `https://10.0.0.1:7070`
    package var agentURL: String

    package init(name: String, agentURL: String) {
        self.name = name
        self.agentURL = agentURL
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case name
        case agentURL = "agent_url"
    }
}

/// `GET /healthz`.
package struct HealthView: Hashable, Sendable, Codable {
    /// `ok`
    package var status: String
    /// Name of the controller that answered.
    package var controller: String

    package init(status: String, controller: String) {
        self.status = status
        self.controller = controller
    }
}
