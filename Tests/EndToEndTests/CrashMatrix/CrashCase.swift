import Failpoints

/// What a migration is asked to do while something of it dies.
enum CrashWay: String, CaseIterable, Codable, Sendable {
    case live
    /// Called off while memory is on its way.
    case liveCancelled = "live-cancelled"
    case cold
    /// Called off while files are copied.
    case coldCancelled = "cold-cancelled"
    case rescue

    /// Whether its guest runs meanwhile.
    var isLive: Bool { self == .live || self == .liveCancelled }
    var isCancelled: Bool { self == .liveCancelled || self == .coldCancelled }
}

/// What dies.
enum CrashVictim: String, CaseIterable, Codable, Sendable {
    case controller
    /// Both.
    case worker
    case sourceAgent = "source-agent"
    case targetAgent = "target-agent"
    case sourceQEMU = "source-qemu"
    case targetQEMU = "target-qemu"
    /// Every process of Godwit on all hosts, guards too; QEMUs run on.
    case everything
    /// All connections of the store at once; SQLite, which has none, is kept from writing for some seconds.
    case store

    /// Whether there is such a thing on that way. In a rescue the source is a host without power: it comes back instead.
    func belongs(to way: CrashWay) -> Bool {
        switch self {
        case .sourceQEMU, .targetQEMU: way.isLive
        default: true
        }
    }
}

/// One death at one place on one way, with one kind of store.
struct CrashCase: Hashable, Codable, Sendable, CustomStringConvertible {
    var way: CrashWay
    var point: String
    var victim: CrashVictim
    var store = FleetStore.Kind.chosen

    /// Whether the guest may not be the one that it was before.
    var mayEndGuest: Bool { victim == .sourceQEMU || victim == .targetQEMU || way == .rescue }

    var description: String { "\(way.rawValue) at \(point): \(victim.rawValue) dies (\(store.rawValue))" }
}

/// How a case ended, seen from outside.
struct CrashOutcome: Codable, Sendable {
    var crash: CrashCase
    /// `ready`, `failed`, or nil when the case did not come about: the place was not reached, or there was no such victim.
    var end: String?
    var reason: String?
    var attempts = 0
    var milliseconds: Int64 = 0
    /// What is not as it must be.
    var flaws: [String] = []
}
