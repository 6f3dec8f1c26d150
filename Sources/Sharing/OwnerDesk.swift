package import AgentAPI
import Dispatch
import Failpoints
package import Fleet
import Foundation
import Glibc
package import Hypervisor
import Synchronization

/// Reads and writes what hosts tell each other by way of a storage: owner records, and nonces that prove that it is the same one.
///
/// A network file system that is gone can hold whoever looks at it for ever, so that each storage has a queue of its own, and nobody waits
/// longer than ``patience``.
package final class OwnerDesk: Sendable {
    private let queues = Mutex<[String: DispatchQueue]>([:])
    private let host: String
    private let patience: Duration
    /// The record's name in the server's folder.
    package static let file = "owner.json"

    /// - Parameters:
    ///   - host: This host's name.
    ///   - patience: How long a storage may take to answer.
    package init(host: String, patience: Duration = .seconds(5)) {
        self.host = host
        self.patience = patience
    }

    private func queue(of storage: String) -> DispatchQueue {
        queues.withLock { queues in
            if let queue = queues[storage] { return queue }
            let queue = DispatchQueue(label: "godwit.owners.\(storage)")
            queues[storage] = queue
            return queue
        }
    }

    /// The record of a server on each of these storages; nil where its folder has none.
    /// - Throws: ``AgentProblem`` when a storage cannot be read, when the server has no folder there, or when the record is none.
    package func read(_ storages: [String], of paths: GuestPaths) async throws -> [String: OwnerRecord?] {
        var found: [String: OwnerRecord?] = [:]
        for storage in storages {
            let folder = try paths.diskFolder(on: storage)
            found.updateValue(try await answer(of: storage) { try Self.read(folder, storage) }, forKey: storage)
        }
        return found
    }

    /// Writes this host down as the owner, durably. Folders are not made.
    package func write(_ epoch: Epoch, on storages: [String], of paths: GuestPaths) async throws {
        let record = OwnerRecord(server: paths.server, epoch: epoch, host: host)
        try await restore(Dictionary(uniqueKeysWithValues: storages.map { ($0, record) }), of: paths)
    }

    /// Has the records as they were, by storage, durably. Folders are not made.
    package func restore(_ records: [String: OwnerRecord], of paths: GuestPaths) async throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        for (storage, record) in records {
            let bytes = try encoder.encode(record)
            let path = "\(try paths.diskFolder(on: storage))/\(Self.file)"
            // Two hosts may write at the same time; each its own draft.
            let draft = "\(host).new"
            try await answer(of: storage) { try DurableFile.write(bytes, to: path, as: .ownerRecord, draft: draft) }
        }
    }

    /// - Throws: ``AgentProblem`` when a storage cannot be written or read.
    package func carryOut(_ order: ProofOrder, for paths: GuestPaths) async throws -> ProofReport {
        var report = ProofReport(storages: [:])
        for name in order.storages {
            if let storage = paths.known(name) {
                report.storages[name] = try await answer(of: name) { try StorageProof.carryOut(order, on: storage) }
            } else {
                report.storages[name] = ProofReport.Finding(kind: nil, isSeen: false)
            }
        }
        return report
    }

    private static func read(_ folder: String, _ storage: String) throws -> OwnerRecord? {
        guard access(folder, F_OK) == 0 else {
            throw AgentProblem(
                .failed, .diskError, "storage \(storage) has no folder \(folder) here: is what it lies on mounted on this host?")
        }
        let path = "\(folder)/\(file)"
        guard let bytes = try DurableFile.read(path) else { return nil }
        do {
            return try JSONDecoder().decode(OwnerRecord.self, from: bytes)
        } catch {
            throw AgentProblem(.failed, .diskError, "\(path) is no owner record: \(error)")
        }
    }

    /// Runs the body on the storage's queue and gives it up when it takes too long; it then ends when the storage lets it.
    /// - Parameter limit: another patience than the desk's.
    /// - Throws: what the body throws; ``AgentProblem`` `disk-error` when the storage does not answer in time.
    package func answer<Result: Sendable>(
        of storage: String, within limit: Duration? = nil, _ body: @escaping @Sendable () throws -> Result
    ) async throws -> Result {
        let queue = queue(of: storage)
        let patience = limit ?? patience
        return try await withCheckedThrowingContinuation { continuation in
            let first = First(continuation)
            queue.async {
                // Whoever asked may have given up while this waited in the queue.
                guard !first.isTaken else { return }
                first.resume(with: Swift.Result(catching: body).mapError { $0 as any Error })
            }
            DispatchQueue.global().asyncAfter(deadline: .now() + .milliseconds(Int(patience.inMilliseconds))) {
                guard !first.isTaken else { return }
                first.resume(
                    with: .failure(AgentProblem(.failed, .diskError, "storage \(storage) does not answer: it was waited for \(patience)")))
            }
        }
    }
}

/// A continuation that two may resume; the first one does.
private final class First<Value: Sendable>: Sendable {
    private let continuation: Mutex<CheckedContinuation<Value, any Error>?>

    init(_ continuation: CheckedContinuation<Value, any Error>) {
        self.continuation = Mutex(continuation)
    }

    var isTaken: Bool { continuation.withLock { $0 == nil } }

    func resume(with result: Result<Value, any Error>) {
        let waiting = continuation.withLock { continuation in
            defer { continuation = nil }
            return continuation
        }
        waiting?.resume(with: result)
    }
}
