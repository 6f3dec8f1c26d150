/// A named place in a process at which it can be made to fail, to wait, to be held, or to die: `agent.record.owned.before`.
///
/// Every place has a case in one of the catalogs below, so that ``all`` is made from the same values as the places themselves.
package struct Failpoint: Hashable, Sendable, CustomStringConvertible {
    package let name: String

    private init(_ words: String...) {
        name = words.joined(separator: ".")
    }

    package var description: String { name }

    /// Before what the place is named after is done, and when it has been done and nobody knows yet.
    package enum Side: String, CaseIterable, Sendable {
        case before
        case after
    }

    /// A boundary of a step of a plan.
    package enum Boundary: String, CaseIterable, Sendable {
        /// Its journal row says `started`.
        case begun
        /// It was done, and its journal row does not say so yet.
        case performed
        /// Its journal row says `done`.
        case committed
        /// It is about to be undone.
        case undoing
        /// It was undone, and its journal row does not say so yet.
        case undone
    }

    /// Of a worker.
    package static func step(_ mode: String, _ step: String, _ boundary: Boundary) -> Failpoint {
        Failpoint("worker", mode, step, boundary.rawValue)
    }

    /// Of whoever writes to the store.
    package static func store(_ write: StoreWrite, _ side: Side) -> Failpoint { Failpoint("store", write.rawValue, side.rawValue) }

    /// Of an agent that was given an order: before it obeys, and before it answers.
    package static func order(_ order: AgentOrder, _ side: Side) -> Failpoint { Failpoint("agent", "order", order.rawValue, side.rawValue) }

    /// Of an agent that writes down what it must remember of a server.
    package static func record(_ fact: RecordedFact, _ side: Side) -> Failpoint {
        Failpoint("agent", "record", fact.rawValue, side.rawValue)
    }

    /// Of an agent that writes another small file durably.
    package static func file(_ file: DurableContent, _ side: Side) -> Failpoint { Failpoint("agent", "file", file.rawValue, side.rawValue) }

    /// Of an agent that starts a QEMU.
    package static func launch(_ side: Side) -> Failpoint { Failpoint("agent", "qemu", "launch", side.rawValue) }

    /// Of an agent that tells QEMU to change something; nil for a command that only asks.
    package static func qmp(_ command: String, _ side: Side) -> Failpoint? {
        if command.hasPrefix("query-") || command == "qmp_capabilities" { return nil }
        let known = MonitorCommand(rawValue: command) ?? .other
        return Failpoint("agent", "qmp", known.rawValue, side.rawValue)
    }

    /// Steps of each mode's plan, in order.
    package static let steps: [(mode: String, steps: [String])] = [
        (
            "live",
            [
                "place", "prove-shared", "copy-bases", "prepare-target", "eject-medium", "mirror-disks", "send-memory", "switch", "commit",
            ]
        ),
        ("cold", ["place", "prove-shared", "lend", "receive", "hand-over", "commit"]),
        ("rescue", ["check-down", "place", "adopt", "commit"]),
    ]

    /// Every one.
    package static let all: [Failpoint] =
        steps.flatMap { mode, steps in steps.flatMap { step in Boundary.allCases.map { .step(mode, step, $0) } } }
        + StoreWrite.allCases.flatMap { write in Side.allCases.map { .store(write, $0) } }
        + AgentOrder.allCases.flatMap { order in Side.allCases.map { .order(order, $0) } }
        + RecordedFact.allCases.flatMap { fact in Side.allCases.map { .record(fact, $0) } }
        + DurableContent.allCases.flatMap { file in Side.allCases.map { .file(file, $0) } }
        + Side.allCases.map { .launch($0) }
        + MonitorCommand.allCases.flatMap { command in Side.allCases.compactMap { .qmp(command.rawValue, $0) } }

    private static let names = Set(all.map(\.name))

    /// - Throws: ``UnknownFailpoint``.
    package init(named name: String) throws {
        guard Self.names.contains(name) else { throw UnknownFailpoint(name: name) }
        self.name = name
    }
}

package struct UnknownFailpoint: Error, CustomStringConvertible {
    package let name: String
    package var description: String { "there is no failure point \"\(name)\": `godwit failpoints` lists them" }
}
