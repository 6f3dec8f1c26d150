import AgentAPI
import Fleet
import Hypervisor
import QMP

/// The target's ends of the streams.
extension Guest {
    /// Opens the target's ends of the streams: an NBD server with an export for each disk that is mirrored, and the port for memory.
    ///
    /// - Returns: where the source finds them, and the agent's listener; nil when QEMU listens for memory itself.
    func open(
        _ process: GuestProcess, _ disks: [GuestDescription.Disk], _ order: PrepareOrder
    ) async throws -> (Endpoints, StreamSocket?) {
        let monitor = process.monitor
        let known = try await monitor.migrateCapabilityNames()
        let wanted = ["events", "return-path", "late-block-activate"]
        guard known.isSuperset(of: wanted) else {
            throw AgentProblem(
                .failed, .incompatibleQEMU,
                "QEMU \(monitor.version) lacks \(wanted.filter { !known.contains($0) }.joined(separator: ", ")): a newer one is needed")
        }
        // late-block-activate: the disks become the guest's own at `cont`, so that the exports need not be gone before the source has ended.
        try await monitor.migrateSetCapabilities(Dictionary(uniqueKeysWithValues: wanted.map { ($0, true) }))
        let streams = order.streams
        try await secure(monitor, streams, source: order.source)
        if streams.isPostCopyAllowed { try await allowPostCopy(monitor) }
        var nbdPort = 0
        if !disks.isEmpty {
            let listener = try StreamSocket.listen(host.migrationAddress, port: 0)
            nbdPort = listener.port
            try await monitor.sendDescriptor(listener.descriptor, name: "nbd-listener")
            try await monitor.nbdServerStart(
                ["type": "fd", "data": ["str": "nbd-listener"]], tlsCreds: streams.isEncrypted ? StreamCredentials.incomingID : nil,
                tlsAuthz: streams.isEncrypted ? StreamCredentials.peerID : nil)
            for disk in disks {
                try await monitor.blockExportAdd(id: "export-\(disk.name)", nodeName: disk.name, name: disk.name, writable: true)
            }
        }
        if let channels = streams.channels {
            let port = try await listenByChannels(monitor, channels)
            return (Endpoints(address: host.migrationAddress, nbdPort: nbdPort, memoryPort: port), nil)
        }
        let listener = try StreamSocket.listen(host.migrationAddress, port: 0)
        return (Endpoints(address: host.migrationAddress, nbdPort: nbdPort, memoryPort: listener.port), listener)
    }

    /// Has the streams encrypted, and nobody let in but the source's agent.
    private func secure(_ monitor: QMPClient, _ streams: StreamOptions, source: String) async throws {
        guard streams.isEncrypted else { return }
        do {
            try await monitor.objectAdd(host.credentials.incoming)
            try await monitor.objectAdd(StreamCredentials.peer(source: source))
        } catch let error as QMPError where error.code == .command {
            throw AgentProblem(
                .failed, .tlsRefused,
                "QEMU cannot encrypt with the certificate of host \(host.configuration.name) (\(error)): issue it anew from the fleet's authority, or migrate without --enable-tls"
            )
        }
        try await monitor.migrateSetParameters([
            "tls-creds": .string(StreamCredentials.incomingID), "tls-authz": .string(StreamCredentials.peerID),
        ])
    }

    private func allowPostCopy(_ monitor: QMPClient) async throws {
        do {
            try await monitor.migrateSetCapabilities(["postcopy-ram": true])
        } catch let error as QMPError where error.code == .command {
            throw AgentProblem(
                .failed, .incompatibleQEMU,
                "host \(host.configuration.name) cannot take a guest by post-copy (\(error.reason ?? error.message)): where the kernel withholds userfaultfd, set vm.unprivileged_userfaultfd=1 or give QEMU CAP_SYS_PTRACE; or migrate without --post-copy"
            )
        }
    }

    /// Has QEMU itself listen for memory: 7.2 takes no parallel streams by descriptors. Without TLS whoever connects is taken for the source.
    private func listenByChannels(_ monitor: QMPClient, _ channels: Int) async throws -> Int {
        try await monitor.migrateSetCapabilities(["multifd": true])
        try await monitor.migrateSetParameters(["multifd-channels": JSONValue(channels)])
        let address = host.migrationAddress
        try await monitor.migrateIncoming(uri: "tcp:\(address.contains(":") ? "[\(address)]" : address):0")
        guard let port = try await monitor.queryMigrate().socketAddress?.first(where: { $0.type == "inet" })?.port.flatMap({ Int($0) })
        else {
            throw AgentProblem(.failed, .qemuError, "QEMU does not say on which port it waits for memory")
        }
        return port
    }
}

extension StreamOptions {
    /// - Throws: ``AgentProblem`` of kind `invalid`.
    func validate() throws {
        if let channels, !(2...16).contains(channels) {
            throw AgentProblem(.invalid, .invalidRequest, "\(channels) parallel memory streams are not possible: give 2 to 16")
        }
        if channels != nil, isPostCopyAllowed {
            throw AgentProblem(
                .invalid, .invalidRequest,
                "post-copy and parallel memory streams do not go together in QEMU 7.2: take --post-copy or --multifd")
        }
    }
}
