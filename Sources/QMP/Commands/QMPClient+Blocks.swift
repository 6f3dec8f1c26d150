/// A long-running operation on a block device (QAPI `BlockJobInfo`).
package struct BlockJobInfo: Sendable, Hashable, Codable {
    /// The job's id (QAPI calls it the device).
    package let device: String
    /// `mirror`, `backup`, `commit`, `stream`, …
    package let type: String
    /// Bytes of the whole as estimated now; it grows while the guest writes.
    package let len: Int
    /// Bytes done. Equal to `len` does not mean ready.
    package let offset: Int
    /// Bytes per second at most; 0 is unlimited.
    package let speed: Int
    /// A mirror is in step with its source and may be ended.
    package let ready: Bool
    /// QAPI's `JobStatus`: `running`, `ready`, `standby`, `pending`, `concluded`, …
    package let status: String
    /// `ok`, `failed` or `nospace`.
    package let ioStatus: String?
    package let paused: Bool?
    package let busy: Bool?
    /// Why a job that is to be dismissed failed.
    package let error: String?

    private enum CodingKeys: String, CodingKey {
        case device, type, len, offset, speed, ready, status, paused, busy, error
        case ioStatus = "io-status"
    }
}

/// A long-running operation (QAPI `JobInfo`).
package struct JobInfo: Sendable, Hashable, Codable {
    package let id: String
    package let type: String
    package let status: String
    package let currentProgress: Int
    package let totalProgress: Int
    package let error: String?

    private enum CodingKeys: String, CodingKey {
        case id, type, status, error
        case currentProgress = "current-progress"
        case totalProgress = "total-progress"
    }
}

/// A node of the block graph (QAPI `BlockDeviceInfo`).
package struct BlockNode: Sendable, Hashable, Codable {
    package let nodeName: String?
    /// `qcow2`, `raw`, `file`, `nbd`, …
    package let driver: String
    package let file: String
    package let readOnly: Bool
    package let backingFile: String?
    package let image: Image

    private enum CodingKeys: String, CodingKey {
        case file, image
        case nodeName = "node-name"
        case driver = "drv"
        case readOnly = "ro"
        case backingFile = "backing_file"
    }

    /// The image in the node (QAPI `ImageInfo`).
    package struct Image: Sendable, Hashable, Codable {
        package let filename: String
        package let format: String
        /// Bytes that the guest sees.
        package let virtualSize: Int
        /// Bytes on the storage; nil where that cannot be told (NBD).
        package let actualSize: Int?

        private enum CodingKeys: String, CodingKey {
            case filename, format
            case virtualSize = "virtual-size"
            case actualSize = "actual-size"
        }
    }
}

/// What a mirror copies (QAPI `MirrorSyncMode`).
package enum MirrorSync: String, Sendable, Hashable, CaseIterable {
    /// Everything; over NBD that writes zeroes over the whole target first.
    case full
    /// What the topmost image holds: right for a target that is new and empty, and twenty times faster on a sparse disk.
    case top
    /// Only what the guest writes from now on.
    case none
}

/// When a mirror sends what the guest writes (QAPI `MirrorCopyMode`).
package enum MirrorCopyMode: String, Sendable, Hashable, CaseIterable {
    case background
    /// Every write of the guest waits for the target.
    case writeBlocking = "write-blocking"
}

extension QMPClient {
    /// QAPI `query-named-block-nodes` with `flat`: no chain of backing images within each node.
    package func queryNamedBlockNodes(deadline: Duration = defaultDeadline) async throws -> [BlockNode] {
        try await execute("query-named-block-nodes", ["flat": true], as: [BlockNode].self, deadline: deadline)
    }

    /// QAPI `query-block-jobs`.
    package func queryBlockJobs(deadline: Duration = defaultDeadline) async throws -> [BlockJobInfo] {
        try await execute("query-block-jobs", as: [BlockJobInfo].self, deadline: deadline)
    }

    /// QAPI `query-jobs`.
    package func queryJobs(deadline: Duration = defaultDeadline) async throws -> [JobInfo] {
        try await execute("query-jobs", as: [JobInfo].self, deadline: deadline)
    }

    /// QAPI `blockdev-add`. With driver `nbd` the guest stands still until the server has answered the handshake.
    package func blockdevAdd(_ options: JSONValue, deadline: Duration = defaultDeadline) async throws {
        try await execute("blockdev-add", options, deadline: deadline)
    }

    /// QAPI `blockdev-del`. Refused while a job or a device uses the node.
    package func blockdevDel(_ nodeName: String, deadline: Duration = defaultDeadline) async throws {
        try await execute("blockdev-del", ["node-name": .string(nodeName)], deadline: deadline)
    }

    /// QAPI `blockdev-mirror`: copies a node to another one and keeps them in step from then on. Returns when the job exists.
    /// - Parameters:
    ///   - jobID: unique, also over time: events of an earlier job of the same id look the same.
    ///   - device: the source's node or device.
    ///   - target: the target's node.
    ///   - speed: bytes per second at most; 0 or nil is unlimited.
    ///   - autoDismiss: false keeps the ended job, with its error, until `jobDismiss`.
    package func blockdevMirror(
        jobID: String, device: String, target: String, sync: MirrorSync, speed: Int? = nil, copyMode: MirrorCopyMode? = nil,
        autoFinalize: Bool? = nil, autoDismiss: Bool? = nil, deadline: Duration = defaultDeadline
    ) async throws {
        try await execute(
            "blockdev-mirror",
            .members([
                "job-id": .string(jobID), "device": .string(device), "target": .string(target), "sync": .string(sync.rawValue),
                "speed": speed.map { JSONValue($0) }, "copy-mode": copyMode.map { .string($0.rawValue) },
                "auto-finalize": autoFinalize.map(JSONValue.bool), "auto-dismiss": autoDismiss.map(JSONValue.bool),
            ]),
            deadline: deadline)
    }

    /// QAPI `block-job-cancel`. A ready mirror that is cancelled without force ends well: both sides are equal (`BLOCK_JOB_COMPLETED`).
    /// One that is not ready, or with force, is given up (`BLOCK_JOB_CANCELLED`).
    package func blockJobCancel(_ device: String, force: Bool = false, deadline: Duration = defaultDeadline) async throws {
        try await execute("block-job-cancel", ["device": .string(device), "force": .bool(force)], deadline: deadline)
    }

    /// QAPI `block-job-set-speed`, in bytes per second; 0 is unlimited. Takes effect within a second.
    package func blockJobSetSpeed(_ device: String, speed: Int, deadline: Duration = defaultDeadline) async throws {
        try await execute("block-job-set-speed", ["device": .string(device), "speed": JSONValue(speed)], deadline: deadline)
    }

    /// QAPI `job-dismiss`: forgets a concluded job that was made with `auto-dismiss` off.
    package func jobDismiss(_ id: String, deadline: Duration = defaultDeadline) async throws {
        try await execute("job-dismiss", ["id": .string(id)], deadline: deadline)
    }
}
