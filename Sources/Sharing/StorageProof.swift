import AgentAPI
import Failpoints
import Fleet
import Foundation
import Glibc
import Hypervisor

/// One host's part in the proof that a storage is the same one on two hosts, or is not.
enum StorageProof {
    /// - Throws: ``AgentProblem`` when the nonce cannot be written, read or taken away.
    static func carryOut(_ order: ProofOrder, on storage: AgentConfiguration.StoragePath) throws -> ProofReport.Finding {
        // In the storage's own folder, beside the servers' folders; no server's id begins with a dot.
        let path = "\(storage.path)/.proof-\(fingerprint(order.key.migration.value))-\(order.key.attempt)"
        switch order.act {
        case .write: try DurableFile.write(Data(order.nonce.utf8), to: path, as: .storageProof)
        case .look: break
        case .remove:
            guard unlink(path) == 0 || errno == ENOENT else {
                throw AgentProblem(.failed, .diskError, "\(path) cannot be removed: \(systemMessage(errno))")
            }
        }
        let isSeen = try DurableFile.read(path) == Data(order.nonce.utf8)
        return ProofReport.Finding(kind: storage.kind, isSeen: isSeen)
    }
}
