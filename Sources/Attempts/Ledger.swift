import AgentAPI
import Dispatch
import Failpoints
package import Fleet
import Foundation
import Glibc
import Hypervisor
import Synchronization

/// Keeps one server's record: every change is on the disk before anybody sees it.
///
/// A change replaces the file by a new one, which takes the disk two or three flushes. The two changes that a guest stands still for, the
/// handover and the ownership, go into a slot that was laid out beforehand and take one. A slot that was torn counts for nothing: it is
/// only ever written over when the file holds something as new.
package final class Ledger: Sendable {
    private struct State {
        var record: GuestRecord
        /// The slot holds what the file does not have yet.
        var slotIsNewest: Bool
    }

    private let path: String
    private let queue: DispatchQueue
    private let state: Mutex<State>
    private static let slotBytes = 32 << 10

    /// Takes up the record at that path, or begins a new one.
    /// - Throws: ``AgentProblem`` when there is one that cannot be read.
    package init(path: String, server: ServerID) throws {
        let file = try DurableFile.read(path).map { try Self.decode($0, path) }
        let slot = try DurableFile.read(Self.slot(path)).flatMap { try Self.unwrap($0, path) }
        let isNewer = (slot?.sequence ?? -1) > (file?.sequence ?? -1)
        let record = (isNewer ? slot : file) ?? GuestRecord(server: server)
        self.path = path
        self.queue = DispatchQueue(label: "godwit.ledger")
        self.state = Mutex(State(record: record, slotIsNewest: isNewer))
    }

    private static func slot(_ path: String) -> String { path + ".slot" }

    package var record: GuestRecord { state.withLock { $0.record } }

    /// Changes the record and writes it. The body may look first and refuse by throwing: changes of one record never overlap.
    /// - Parameter isUrgent: a guest stands still for it.
    @discardableResult
    package func change<Result: Sendable>(
        isUrgent: Bool = false, _ body: @escaping @Sendable (inout GuestRecord) throws -> Result
    ) async throws -> Result {
        try await withCheckedThrowingContinuation { continuation in
            queue.async { continuation.resume(with: Swift.Result { try self.apply(isUrgent: isUrgent, body) }) }
        }
    }

    private func apply<Result>(isUrgent: Bool, _ body: (inout GuestRecord) throws -> Result) throws -> Result {
        let before = state.withLock { $0 }
        var next = before.record
        let result = try body(&next)
        guard next != before.record else { return result }
        next.sequence += 1
        let bytes = try Self.encoder.encode(next)
        let fact = next.fact(since: before.record)
        try Failpoints.reachBlocking(.record(fact, .before))
        let isSlotted = try isUrgent && !before.slotIsNewest && writeSlot(bytes)
        if !isSlotted { try DurableFile.write(bytes, to: path, as: .record) }
        let written = next
        state.withLock { $0 = State(record: written, slotIsNewest: isSlotted) }
        try Failpoints.reachBlocking(.record(fact, .after))
        return result
    }

    /// Lays the slot out, so that writing it later changes no file's size.
    package func layOutSlot() async throws {
        try await withCheckedThrowingContinuation { continuation in
            queue.async {
                continuation.resume(
                    with: Swift.Result {
                        guard !self.state.withLock({ $0.slotIsNewest }) else { return }
                        try DurableFile.write(Data(count: Self.slotBytes), to: Self.slot(self.path), as: .slotLayout)
                    })
            }
        }
    }

    /// False when there is no slot, or the record does not fit: then nothing was written.
    private func writeSlot(_ record: Data) throws -> Bool {
        var bytes = Data("\(fingerprint(String(decoding: record, as: UTF8.self))) \(record.count)\n".utf8)
        bytes.append(record)
        guard bytes.count <= Self.slotBytes else { return false }
        let file = open(Self.slot(path), O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        let count = bytes.withUnsafeBytes { pwrite(file, $0.baseAddress, $0.count, 0) }
        return count == bytes.count && fdatasync(file) == 0
    }

    /// What a slot holds; nil when it was never written, or torn.
    private static func unwrap(_ slot: Data, _ path: String) throws -> GuestRecord? {
        guard let end = slot.firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let head = String(decoding: slot[..<end], as: UTF8.self).split(separator: " ")
        guard head.count == 2, let count = Int(head[1]), count >= 0 else { return nil }
        let record = slot[(end + 1)...].prefix(count)
        guard record.count == count, fingerprint(String(decoding: record, as: UTF8.self)) == head[0] else { return nil }
        return try decode(record, Self.slot(path))
    }

    private static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        return encoder
    }

    private static func decode(_ bytes: Data, _ path: String) throws -> GuestRecord {
        do {
            return try JSONDecoder().decode(GuestRecord.self, from: bytes)
        } catch {
            throw AgentProblem(.failed, .agentError, "\(path) is no record of a guest: \(error)")
        }
    }
}
