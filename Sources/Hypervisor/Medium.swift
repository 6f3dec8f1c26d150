import AgentAPI
import Fleet
import Glibc
package import QMP

/// What lies in a cdrom: a file of the host.
package enum Medium {
    /// Bytes of the image.
    /// - Parameter remedy: what a person can do besides putting it there.
    /// - Throws: ``AgentProblem`` of kind `invalid` when it is not there.
    package static func size(of path: String, host: String, remedy: String = "") throws -> Int64 {
        var status = stat()
        guard path.hasPrefix("/"), stat(path, &status) == 0, access(path, R_OK) == 0, status.st_mode & S_IFMT == S_IFREG else {
            throw AgentProblem(
                .invalid, .invalidRequest,
                "host \(host) has no file \(path), which is in the server's cdrom: put it there under the same path\(remedy)")
        }
        return Int64(status.st_size)
    }

    /// The rule for a guest that moves while it runs: its medium lies on the new host under the same path, as large as on the old one.
    /// - Parameter bytes: its size at the source; nil when the source did not tell.
    /// - Throws: ``AgentProblem`` of kind `invalid` with the path and the remedy.
    package static func require(_ medium: String?, bytes: Int64?, host: String) throws {
        guard let medium, !medium.isEmpty else { return }
        let eject = ", or migrate with --eject-cdrom"
        let here = try size(of: medium, host: host, remedy: eject)
        guard let bytes, bytes != here else { return }
        throw AgentProblem(
            .invalid, .invalidRequest,
            "\(medium), which is in the server's cdrom, has \(here) bytes on host \(host) and \(bytes) on its present one: make them equal\(eject)"
        )
    }

    /// Has QEMU's drive hold that medium alone. Found half done it is done to the end.
    package static func change(to medium: String, _ monitor: QMPClient) async throws {
        try await monitor.execute("blockdev-open-tray", ["id": "cdrom", "force": true])
        try await monitor.execute("blockdev-remove-medium", ["id": "cdrom"])
        if try await monitor.queryNamedBlockNodes().contains(where: { $0.nodeName == CommandLine.cdromNode }) {
            try await monitor.blockdevDel(CommandLine.cdromNode)
        }
        if !medium.isEmpty {
            try await monitor.blockdevAdd(CommandLine.cdrom(medium))
            try await monitor.execute("blockdev-insert-medium", ["id": "cdrom", "node-name": .string(CommandLine.cdromNode)])
        }
        try await monitor.execute("blockdev-close-tray", ["id": "cdrom"])
    }
}
