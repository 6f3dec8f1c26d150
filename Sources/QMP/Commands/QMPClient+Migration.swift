/// How a migration stands, on its source or its target (QAPI `MigrationInfo`). Before the first one everything is nil; a target reports no figures.
package struct MigrationInfo: Sendable, Hashable, Codable {
    /// QAPI's `MigrationStatus`: `setup`, `active`, `pre-switchover`, `device`, `completed`, `failed`, `cancelling`, `cancelled`, …
    package let status: String?
    package let ram: RAM?
    /// Milliseconds since the start; after the end, of the whole.
    package let totalTime: Int?
    /// Milliseconds that the guest stood still, by QEMU's count, which is sometimes 0 in 7.2: trust the STOP and RESUME events.
    package let downtime: Int?
    /// Milliseconds that the guest would stand still were it stopped now.
    package let expectedDowntime: Int?
    /// Milliseconds.
    package let setupTime: Int?
    /// How much of their time auto-converge takes from the virtual CPUs; nil while it takes none.
    package let cpuThrottlePercentage: Int?
    /// Why it failed.
    package let errorDesc: String?
    /// Why this guest cannot be migrated at all, if so.
    package let blockedReasons: [String]?
    /// Where a target listens by itself, since it was told to on `tcp:`; nil otherwise.
    package let socketAddress: [MigrationSocketAddress]?

    private enum CodingKeys: String, CodingKey {
        case status, ram, downtime
        case totalTime = "total-time"
        case expectedDowntime = "expected-downtime"
        case setupTime = "setup-time"
        case cpuThrottlePercentage = "cpu-throttle-percentage"
        case errorDesc = "error-desc"
        case blockedReasons = "blocked-reasons"
        case socketAddress = "socket-address"
    }

    /// The memory's progress (QAPI `MigrationStats`).
    package struct RAM: Sendable, Hashable, Codable {
        /// Bytes sent.
        package let transferred: Int
        /// Bytes that are still to be sent as of now.
        package let remaining: Int
        /// Bytes of all memory.
        package let total: Int
        /// Pages of zeroes.
        package let duplicate: Int
        /// Pages sent whole.
        package let normal: Int
        /// Pages dirtied per second.
        package let dirtyPagesRate: Int
        /// Rounds over the memory, the first one included.
        package let dirtySyncCount: Int
        /// Throughput in megabits per second (10⁶).
        package let mbps: Double
        /// Bytes.
        package let pageSize: Int

        private enum CodingKeys: String, CodingKey {
            case transferred, remaining, total, duplicate, normal, mbps
            case dirtyPagesRate = "dirty-pages-rate"
            case dirtySyncCount = "dirty-sync-count"
            case pageSize = "page-size"
        }
    }
}

/// Where QEMU listens for a migration (QAPI `SocketAddress`, as far as it concerns `inet`).
package struct MigrationSocketAddress: Sendable, Hashable, Codable {
    /// `inet`, `unix`, …
    package let type: String
    package let host: String?
    /// The number as text; the kernel's choice where 0 was asked for.
    package let port: String?
}

/// What steers migrations of this QEMU (QAPI `MigrationParameters`, those that Godwit uses; `execute` gives the rest).
package struct MigrationParameters: Sendable, Hashable, Codable {
    /// Bytes per second; 0 is unlimited.
    package let maxBandwidth: Int?
    /// Bytes per second for what post-copy sends unasked; 0 is unlimited.
    package let maxPostcopyBandwidth: Int?
    /// Milliseconds.
    package let downtimeLimit: Int?
    /// Percent.
    package let cpuThrottleInitial: Int?
    /// Percent.
    package let cpuThrottleIncrement: Int?
    /// Percent.
    package let maxCPUThrottle: Int?
    package let multifdChannels: Int?
    /// The id of a `tls-creds` object; empty for none.
    package let tlsCreds: String?
    package let tlsHostname: String?
    /// The id of an `authz` object that judges a target's peer; empty for none.
    package let tlsAuthz: String?

    private enum CodingKeys: String, CodingKey {
        case maxBandwidth = "max-bandwidth"
        case maxPostcopyBandwidth = "max-postcopy-bandwidth"
        case tlsAuthz = "tls-authz"
        case downtimeLimit = "downtime-limit"
        case cpuThrottleInitial = "cpu-throttle-initial"
        case cpuThrottleIncrement = "cpu-throttle-increment"
        case maxCPUThrottle = "max-cpu-throttle"
        case multifdChannels = "multifd-channels"
        case tlsCreds = "tls-creds"
        case tlsHostname = "tls-hostname"
    }
}

extension QMPClient {
    /// QAPI `query-migrate`.
    package func queryMigrate(deadline: Duration = defaultDeadline) async throws -> MigrationInfo {
        try await execute("query-migrate", as: MigrationInfo.self, deadline: deadline)
    }

    /// QAPI `query-migrate-parameters`.
    package func queryMigrateParameters(deadline: Duration = defaultDeadline) async throws -> MigrationParameters {
        try await execute("query-migrate-parameters", as: MigrationParameters.self, deadline: deadline)
    }

    /// QAPI `query-migrate-capabilities`: every capability that this QEMU knows, and whether it is switched on.
    package func queryMigrateCapabilities(deadline: Duration = defaultDeadline) async throws -> [String: Bool] {
        struct Status: Decodable, Sendable {
            let capability: String
            let state: Bool
        }
        let list = try await execute("query-migrate-capabilities", as: [Status].self, deadline: deadline)
        return Dictionary(list.map { ($0.capability, $0.state) }) { _, last in last }
    }

    /// QAPI `query-migrate-capabilities`: the names of what this QEMU knows.
    package func migrateCapabilityNames(deadline: Duration = defaultDeadline) async throws -> Set<String> {
        Set(try await queryMigrateCapabilities(deadline: deadline).keys)
    }

    /// QAPI `migrate-set-capabilities`. All or none are set; an unknown one is refused.
    package func migrateSetCapabilities(_ capabilities: [String: Bool], deadline: Duration = defaultDeadline) async throws {
        let list = capabilities.sorted { $0.key < $1.key }.map { name, on -> JSONValue in
            ["capability": .string(name), "state": .bool(on)]
        }
        try await execute("migrate-set-capabilities", ["capabilities": .array(list)], deadline: deadline)
    }

    /// QAPI `migrate-set-parameters`, for instance `["max-bandwidth": 0, "downtime-limit": 30]` (bytes per second, milliseconds). Takes effect at once, also in flight.
    package func migrateSetParameters(_ parameters: JSONValue, deadline: Duration = defaultDeadline) async throws {
        try await execute("migrate-set-parameters", parameters, deadline: deadline)
    }

    /// QAPI `migrate`: starts sending. Returns when it has started; what becomes of it is told by `MIGRATION` events and `queryMigrate`.
    /// - Parameter uri: `tcp:host:port`, `unix:path`, or `fd:name` with a descriptor given before by `sendDescriptor`.
    package func migrate(uri: String, resume: Bool? = nil, deadline: Duration = defaultDeadline) async throws {
        try await execute("migrate", .members(["uri": .string(uri), "resume": resume.map(JSONValue.bool)]), deadline: deadline)
    }

    /// QAPI `migrate-incoming`, on a QEMU started with `-incoming defer`. A descriptor named by `fd:name` is an accepted connection, not a listener.
    package func migrateIncoming(uri: String, deadline: Duration = defaultDeadline) async throws {
        try await execute("migrate-incoming", ["uri": .string(uri)], deadline: deadline)
    }

    /// QAPI `migrate-continue`.
    /// - Parameter state: the state in which it waits: `pre-switchover`.
    package func migrateContinue(state: String = "pre-switchover", deadline: Duration = defaultDeadline) async throws {
        try await execute("migrate-continue", ["state": .string(state)], deadline: deadline)
    }

    /// QAPI `migrate-start-postcopy`: stops the guest, has the target run it, and sends what is asked for first. Needs `postcopy-ram` on both sides.
    package func migrateStartPostCopy(deadline: Duration = defaultDeadline) async throws {
        try await execute("migrate-start-postcopy", deadline: deadline)
    }

    /// QAPI `migrate_cancel`. Never in state `device`: QEMU 7.2 can abort and take the guest along. With mirrors on a dead link, yank these first.
    package func migrateCancel(deadline: Duration = defaultDeadline) async throws {
        try await execute("migrate_cancel", deadline: deadline)
    }

    /// QAPI `migrate-pause`, in state `postcopy-active` only: breaks the stream, so that both ends can be joined anew by another.
    /// - Parameter outOfBand: carried out even when QEMU's main loop hangs; needs a client connected with `enableOOB`.
    package func migratePause(outOfBand: Bool = false, deadline: Duration = defaultDeadline) async throws {
        if outOfBand {
            try await executeOutOfBand("migrate-pause", deadline: deadline)
        } else {
            try await execute("migrate-pause", deadline: deadline)
        }
    }

    /// QAPI `migrate-recover`, at the target in state `postcopy-paused`: takes another connection. The source then goes on by `migrate` with `resume`.
    ///
    /// QEMU 7.2 does not outlive it when that connection breaks before both ends have joined: the target crashes, the source waits for ever.
    /// - Parameter outOfBand: carried out even when QEMU's main loop hangs, as it does once a device of the guest wants memory that is not here;
    ///   needs a client connected with `enableOOB`, and a URI that names no descriptor, since none can be given to a main loop that hangs.
    package func migrateRecover(uri: String, outOfBand: Bool = false, deadline: Duration = defaultDeadline) async throws {
        if outOfBand {
            try await executeOutOfBand("migrate-recover", ["uri": .string(uri)], deadline: deadline)
        } else {
            try await execute("migrate-recover", ["uri": .string(uri)], deadline: deadline)
        }
    }
}
