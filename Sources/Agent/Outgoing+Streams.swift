import AgentAPI
import Attempts
import Fleet
import Hypervisor
import QMP

/// How the source's streams travel.
extension Outgoing {
    /// Has QEMU know our certificate when the streams are encrypted: as it is now, for it may have been renewed.
    func ensureCredentials(_ record: OutgoingRecord, _ monitor: QMPClient) async throws {
        guard record.streams?.isEncrypted == true, !hasCredentials else { return }
        do { try await monitor.objectDel(StreamCredentials.outgoingID) } catch let error as QMPError where error.code == .command {}
        do {
            try await monitor.objectAdd(host.credentials.outgoing)
        } catch let error as QMPError where error.code == .command {
            throw AgentProblem(
                .failed, .tlsRefused,
                "this host's own certificate does not do (\(error)): " + StreamCredentials.remedy(record.target.address))
        }
        hasCredentials = true
    }

    /// What `blockdev-add` must be told of a disk's stream.
    func blockTLS(_ record: OutgoingRecord) -> [String: JSONValue] {
        guard record.streams?.isEncrypted == true else { return [:] }
        return ["tls-creds": .string(StreamCredentials.outgoingID), "tls-hostname": .string(record.target.address)]
    }

    /// What memory's stream must be told, also that it has none of what an earlier attempt had.
    func memoryParameters(_ record: OutgoingRecord) -> [String: JSONValue] {
        let isEncrypted = record.streams?.isEncrypted == true
        var parameters: [String: JSONValue] = [
            "tls-creds": .string(isEncrypted ? StreamCredentials.outgoingID : ""),
            "tls-hostname": .string(isEncrypted ? record.target.address : ""),
        ]
        if let channels = record.streams?.channels { parameters["multifd-channels"] = JSONValue(channels) }
        return parameters
    }

    func tlsRefusal(of disk: String, _ record: OutgoingRecord, _ error: QMPError) -> Reason {
        Reason(
            .tlsRefused,
            "the TLS handshake with the target at \(record.target.address) for disk \(disk) failed (\(error.reason ?? error.message)): "
                + StreamCredentials.remedy(record.target.address))
    }

    /// Sends memory by QEMU's own sockets: 7.2 has no parallel streams over descriptors.
    func migrateByChannels(_ record: OutgoingRecord, _ monitor: QMPClient) async throws {
        let address = record.target.address
        try await monitor.migrate(uri: "tcp:\(address.contains(":") ? "[\(address)]" : address):\(record.target.memoryPort)")
    }
}
