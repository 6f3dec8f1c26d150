/// Many migrations submitted at once, atomically, under one name.
package struct Batch: Hashable, Sendable, Codable {
    package var id: BatchID
    package var name: String
    /// Who submitted it.
    package var actor: String
    /// What the submitter called this very submit, so that sending it again brings the same batch back; nil when they gave nothing.
    package var token: String?
    /// How each server moves; nil is live where it runs and cold where it is off.
    package var mode: Mode?
    /// Higher ones are begun first.
    package var priority: Int
    /// How many of its migrations may be under way at once; nil leaves that to the hosts' slots.
    package var maxParallel: Int?
    /// At how many failures the rest is held; nil is never.
    package var maxFailures: FailureLimit?
    /// Nothing of it is begun before.
    package var startAt: Timestamp?
    /// Who told it to begin nothing more; nil while nobody did.
    package var pausedBy: String?
    /// Why it begins nothing more by itself: it had as many failures as it may.
    package var held: Reason?
    /// Somebody asked for all of it to end.
    package var cancelRequested: Bool
    /// The batch whose failures it tries again.
    package var retryOf: BatchID?
    /// The lines of the submit that were left out because they were not valid.
    package var skipped: Int
    package var total: Int
    /// Under way: claimed, or holding something on hosts.
    package var running: Int
    package var ready: Int
    /// Failed for another reason than a cancellation.
    package var failed: Int
    package var cancelled: Int
    package var createdAt: Timestamp
    package var finishedAt: Timestamp?

    package init(
        id: BatchID, name: String, actor: String, token: String? = nil, mode: Mode? = nil, priority: Int = 0, maxParallel: Int? = nil,
        maxFailures: FailureLimit? = nil, startAt: Timestamp? = nil, pausedBy: String? = nil, held: Reason? = nil,
        cancelRequested: Bool = false, retryOf: BatchID? = nil, skipped: Int = 0, total: Int, running: Int = 0, ready: Int = 0,
        failed: Int = 0, cancelled: Int = 0, createdAt: Timestamp, finishedAt: Timestamp? = nil
    ) {
        self.id = id
        self.name = name
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
        self.skipped = skipped
        self.total = total
        self.running = running
        self.ready = ready
        self.failed = failed
        self.cancelled = cancelled
        self.createdAt = createdAt
        self.finishedAt = finishedAt
    }

    /// Not yet ready, failed or cancelled.
    package var unfinished: Int { total - ready - failed - cancelled }

    /// In one word.
    package func status(at now: Timestamp) -> BatchStatus {
        if finishedAt != nil { return cancelRequested ? .cancelled : .done }
        if cancelRequested { return .cancelling }
        if pausedBy != nil { return .paused }
        if held != nil { return .held }
        if let startAt, startAt > now { return .scheduled }
        return running == 0 && unfinished == total ? .pending : .running
    }
}

package typealias BatchID = Identifier<Batch>

/// What a batch is doing.
package enum BatchStatus: String, Sendable, Codable, CaseIterable {
    /// Nothing of it has begun yet.
    case pending
    /// Its time has not come yet.
    case scheduled
    case running
    /// Somebody paused it; what is under way goes on.
    case paused
    /// It had too many failures; what is under way goes on.
    case held
    case cancelling
    case cancelled
    /// All of its migrations are over, some of them maybe failed.
    case done
}

/// A number of failures, or a share of all of a batch.
package enum FailureLimit: Hashable, Sendable, Codable, CustomStringConvertible {
    case number(Int)
    /// Per cent, 1 to 100.
    case percent(Int)

    /// `3` or `5%`; nil for what is neither, or outside of 1 to 1000000 or 1 to 100.
    package init?(_ text: String) {
        let isPercent = text.hasSuffix("%")
        let digits = isPercent ? text.dropLast() : text[...]
        guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int(digits),
            (1...(isPercent ? 100 : 1_000_000)).contains(number)
        else { return nil }
        self = isPercent ? .percent(number) : .number(number)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let limit = FailureLimit(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "neither a number nor a share in per cent")
        }
        self = limit
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    package var description: String {
        switch self {
        case .number(let number): String(number)
        case .percent(let percent): "\(percent)%"
        }
    }

    /// How many failures that is of so many migrations: at least one.
    package func failures(of total: Int) -> Int {
        switch self {
        case .number(let number): number
        case .percent(let percent): max(1, (total * percent + 99) / 100)
        }
    }
}

/// Why a line of a submit cannot be taken.
package struct BatchFlaw: Hashable, Sendable, Codable {
    /// From 1 on.
    package var line: Int
    /// As the line names the server.
    package var id: String
    package var reason: Reason

    package init(line: Int, id: String, reason: Reason) {
        self.line = line
        self.id = id
        self.reason = reason
    }
}
