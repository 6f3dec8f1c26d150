package import Fleet

/// A batch as the API shows it.
package struct BatchView: Hashable, Sendable, Codable {
    package var id: String
    package var name: String
    package var status: BatchStatus
    /// Under way are `running`; those that wait are what is left of `total`.
    package var total: Int
    package var running: Int
    package var ready: Int
    /// Failed for another reason than a cancellation.
    package var failed: Int
    package var cancelled: Int
    /// Lines of the submit that were left out.
    package var skipped: Int
    package var actor: String
    package var token: String?
    /// `auto`, `live` or `cold`.
    package var mode: BatchMode
    package var priority: Int
    package var maxParallel: Int?
    /// `3` or `5%`.
    package var maxFailures: FailureLimit?
    package var startAt: WireTime?
    /// Who paused it.
    package var pausedBy: String?
    /// Why it begins nothing more by itself.
    package var held: Reason?
    package var cancelRequested: Bool
    /// Id of the batch whose failures it tries again.
    package var retryOf: String?
    package var createdAt: WireTime
    package var finishedAt: WireTime?
    /// How many of its migrations are in which state; of one batch only, not in lists.
    package var states: [String: Int]?
    /// How many failed for which reason; likewise.
    package var reasons: [String: Int]?
    /// Milliseconds until all are over, at the speed of late; likewise, and only while that can be told.
    package var etaMS: Int64?
    /// The lines that were left out; likewise.
    package var lines: [BatchFlaw]?

    package init(
        id: String, name: String, status: BatchStatus, total: Int, running: Int = 0, ready: Int = 0, failed: Int = 0, cancelled: Int = 0,
        skipped: Int = 0, actor: String, token: String? = nil, mode: BatchMode = .auto, priority: Int = 0, maxParallel: Int? = nil,
        maxFailures: FailureLimit? = nil, startAt: WireTime? = nil, pausedBy: String? = nil, held: Reason? = nil,
        cancelRequested: Bool = false, retryOf: String? = nil, createdAt: WireTime, finishedAt: WireTime? = nil,
        states: [String: Int]? = nil, reasons: [String: Int]? = nil, etaMS: Int64? = nil, lines: [BatchFlaw]? = nil
    ) {
        self.id = id
        self.name = name
        self.status = status
        self.total = total
        self.running = running
        self.ready = ready
        self.failed = failed
        self.cancelled = cancelled
        self.skipped = skipped
        self.actor = actor
        self.token = token
        self.mode = mode
        self.priority = priority
        self.maxParallel = maxParallel
        self.maxFailures = maxFailures
        self.startAt = startAt
        self.pausedBy = pausedBy
        self.held = held
        self.cancelRequested = cancelRequested
        self.retryOf = retryOf
        self.createdAt = createdAt
        self.finishedAt = finishedAt
        self.states = states
        self.reasons = reasons
        self.etaMS = etaMS
        self.lines = lines
    }

    /// Not yet ready, failed or cancelled.
    package var unfinished: Int { total - ready - failed - cancelled }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case id, name, status, total, running, ready, failed, cancelled, skipped, actor, token, mode, priority
        case maxParallel = "max_parallel"
        case maxFailures = "max_failures"
        case startAt = "start_at"
        case pausedBy = "paused_by"
        case held
        case cancelRequested = "cancel_requested"
        case retryOf = "retry_of"
        case createdAt = "created_at"
        case finishedAt = "finished_at"
        case states, reasons
        case etaMS = "eta_ms"
        case lines
    }
}

/// How the servers of a batch move.
package enum BatchMode: String, Hashable, Sendable, Codable, CaseIterable {
    /// Live those that run, cold those that are off.
    case auto, live, cold

    package init(_ mode: Mode?) { self = mode.flatMap { BatchMode(rawValue: $0.rawValue) } ?? .auto }

    package var mode: Mode? { Mode(rawValue: rawValue) }
}

/// `POST /v1/batches` and `POST /v1/batches/plan`.
package struct BatchRequest: Hashable, Sendable, Codable {
    /// One that tells the time of the submit when nil.
    package var name: String?
    /// Ids, names or unique beginnings of ids; instead of ``selection``. They are begun in this order.
    package var servers: [String]?
    package var selection: Selection?
    /// `auto` when nil.
    package var mode: BatchMode?
    package var priority: Int?
    package var maxParallel: Int?
    /// `3` or `5%`.
    package var maxFailures: FailureLimit?
    package var startAt: WireTime?
    package var skipInvalid: Bool?
    /// Sent again, the same token brings the same batch back.
    package var token: String?
    /// What those that move live are asked for, and those that move cold.
    package var live: LiveMigrateRequest?
    package var cold: MigrateRequest?

    /// Servers by what they are. All of what is given must hold.
    package struct Selection: Hashable, Sendable, Codable {
        /// Id or name.
        package var fromHost: String?
        package var filter: [String]?
        package var search: String?

        package init(fromHost: String? = nil, filter: [String]? = nil, search: String? = nil) {
            self.fromHost = fromHost
            self.filter = filter
            self.search = search
        }

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case fromHost = "from_host"
            case filter, search
        }
    }

    package init(
        name: String? = nil, servers: [String]? = nil, selection: Selection? = nil, mode: BatchMode? = nil, priority: Int? = nil,
        maxParallel: Int? = nil, maxFailures: FailureLimit? = nil, startAt: WireTime? = nil, skipInvalid: Bool? = nil, token: String? = nil,
        live: LiveMigrateRequest? = nil, cold: MigrateRequest? = nil
    ) {
        self.name = name
        self.servers = servers
        self.selection = selection
        self.mode = mode
        self.priority = priority
        self.maxParallel = maxParallel
        self.maxFailures = maxFailures
        self.startAt = startAt
        self.skipInvalid = skipInvalid
        self.token = token
        self.live = live
        self.cold = cold
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case name, servers, selection, mode, priority
        case maxParallel = "max_parallel"
        case maxFailures = "max_failures"
        case startAt = "start_at"
        case skipInvalid = "skip_invalid"
        case token, live, cold
    }
}

/// `POST /v1/batches/{ref}/retry`.
package struct RetryBatchRequest: Hashable, Sendable, Codable {
    package var token: String?
    package var skipInvalid: Bool?

    package init(token: String? = nil, skipInvalid: Bool? = nil) {
        self.token = token
        self.skipInvalid = skipInvalid
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case token
        case skipInvalid = "skip_invalid"
    }
}

/// What a batch would do, by what is known now. Nothing is submitted.
package struct BatchPlanView: Hashable, Sendable, Codable {
    /// In the order in which they would be begun.
    package var moves: [Move]
    /// Lines that would be refused.
    package var lines: [BatchFlaw]

    package struct Move: Hashable, Sendable, Codable {
        package var server: Named
        package var mode: Mode
        package var sourceHost: Named
        /// Nil where no host could take it.
        package var targetHost: Named?
        /// Those of one wave could be under way at the same time; from 1 on.
        package var wave: Int?
        /// Milliseconds at most, where the speed of the way is known from earlier migrations.
        package var atMostMS: Int64?
        /// Why no host could take it.
        package var reason: Reason?

        package init(
            server: Named, mode: Mode, sourceHost: Named, targetHost: Named? = nil, wave: Int? = nil, atMostMS: Int64? = nil,
            reason: Reason? = nil
        ) {
            self.server = server
            self.mode = mode
            self.sourceHost = sourceHost
            self.targetHost = targetHost
            self.wave = wave
            self.atMostMS = atMostMS
            self.reason = reason
        }

        package enum CodingKeys: String, CodingKey, CaseIterable {
            case server, mode
            case sourceHost = "source_host"
            case targetHost = "target_host"
            case wave
            case atMostMS = "at_most_ms"
            case reason
        }
    }

    package init(moves: [Move], lines: [BatchFlaw]) {
        self.moves = moves
        self.lines = lines
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case moves, lines
    }
}
