package import Fleet

/// `POST /v1/guests/{server}/measure`: what a migration of the guest would have to move, and how fast the guest writes. Changes nothing.
package struct MeasureOrder: Hashable, Sendable, Codable {
    /// Whether to watch the guest write, which takes about three seconds.
    package var watches: Bool

    package init(watches: Bool = true) {
        self.watches = watches
    }
}

/// The answer: bytes as of now.
package struct MeasureReport: Hashable, Sendable, Codable {
    /// Its vCPUs execute.
    package var isRunning: Bool
    /// RAM as QEMU has it.
    package var memoryBytes: Int64
    /// Of that, what holds anything but zeroes; nil when nothing runs, or the host does not let its agent look.
    package var memoryUsedBytes: Int64?
    /// How much of the memory is another than before after so many milliseconds, shortest first. Empty when nothing runs.
    package var dirtied: [DirtyWindow]
    /// By disk, in the description's order.
    package var disks: [DiskMeasure]
    /// What the disks rest on, each image once a storage; nil of an agent that does not tell.
    package var bases: [DiskMeasure]?
    /// Why something that was to be measured was not.
    package var warnings: [String]

    package init(
        isRunning: Bool, memoryBytes: Int64, memoryUsedBytes: Int64? = nil, dirtied: [DirtyWindow] = [], disks: [DiskMeasure] = [],
        warnings: [String] = []
    ) {
        self.isRunning = isRunning
        self.memoryBytes = memoryBytes
        self.memoryUsedBytes = memoryUsedBytes
        self.dirtied = dirtied
        self.disks = disks
        self.warnings = warnings
    }
}

/// How many bytes of a disk, or of a base image, there are to copy.
package struct DiskMeasure: Hashable, Sendable, Codable {
    package var name: String
    package var storage: String
    /// What its file takes of the storage, without what it rests on.
    package var allocatedBytes: Int64

    package init(name: String, storage: String, allocatedBytes: Int64) {
        self.name = name
        self.storage = storage
        self.allocatedBytes = allocatedBytes
    }
}

/// `GET /v1/guests/{server}/cpu-features`: the features of the CPU that the running guest was given, by QEMU's names.
package struct CPUFeaturesReport: Hashable, Sendable, Codable {
    package var features: [String]
    package init(features: [String]) { self.features = features }
}

/// `POST /v1/host/cpu-check`: which of these features the host's QEMU cannot offer a guest. Changes nothing.
package struct CPUCheckOrder: Hashable, Sendable, Codable {
    package var features: [String]
    package init(features: [String]) { self.features = features }
}

package struct CPUCheckReport: Hashable, Sendable, Codable {
    /// By name.
    package var missing: [String]
    package init(missing: [String]) { self.missing = missing }
}

/// `POST /v1/host/rehearsals`: wait on the migration address for one connection that names this rehearsal, and take what it sends as a
/// target would. Ends by itself: with the connection, or when none comes.
package struct RehearsalOrder: Hashable, Sendable, Codable {
    package var id: String
    /// What is received is written to this storage and removed at the end; into fresh memory when nil.
    package var storage: String?

    package init(id: String, storage: String? = nil) {
        self.id = id
        self.storage = storage
    }
}

/// Where it waits.
package struct RehearsalPlace: Hashable, Sendable, Codable {
    package var address: String
    package var port: Int

    package init(address: String, port: Int) {
        self.address = address
        self.port = port
    }
}

/// `POST /v1/guests/{server}/rehearse`: send to a waiting rehearsal as a migration of the guest would, within bounds, and tell how fast that
/// went. The guest is not touched.
package struct RehearseOrder: Hashable, Sendable, Codable {
    package var id: String
    package var place: RehearsalPlace
    /// Name of the disk whose data is read and sent; memory of the agent's own when nil.
    package var disk: String?
    package var bytesAtMost: Int64
    package var msAtMost: Int64

    package init(id: String, place: RehearsalPlace, disk: String? = nil, bytesAtMost: Int64 = 64 << 20, msAtMost: Int64 = 1000) {
        self.id = id
        self.place = place
        self.disk = disk
        self.bytesAtMost = bytesAtMost
        self.msAtMost = msAtMost
    }
}

package struct RehearsalReport: Hashable, Sendable, Codable {
    /// Sent, and by the target's word taken in full.
    package var bytes: Int64
    /// From the first byte sent to that word.
    package var microseconds: Int64

    package init(bytes: Int64, microseconds: Int64) {
        self.bytes = bytes
        self.microseconds = microseconds
    }

    /// Bytes a second; nil when too little was sent to tell.
    package var rate: Int64? {
        bytes > 0 && microseconds > 0 ? Int64(Double(bytes) * 1e6 / Double(microseconds)) : nil
    }
}
