import AgentAPI
import Fleet
import Foundation
import Guarding
import Hypervisor
import Logging
import Sharing

/// What every guest of a host shares.
struct HostContext: Sendable {
    let configuration: AgentConfiguration
    let paths: HostPaths
    let qemu: QEMUFacts
    let images: DiskImages
    /// Other hosts' agents, for handing over.
    let peers: AgentPool
    let credentials: StreamCredentials
    let owners: OwnerDesk
    let guardFiles: GuardFiles
    /// Ends of the certificates that this process has read.
    let certificates: [CertificateEnd]
    let logger: Logger

    var rules: GuestRules { GuestRules(configuration, qemu) }

    /// Where this host takes the streams of a migration.
    var migrationAddress: String { configuration.migrationAddress ?? configuration.listen.address }

    /// QEMU's own program to lend files with.
    var storageDaemon: String { "qemu-storage-daemon" }

    /// Which of these base images this host lacks.
    func missingBases(_ needs: BaseNeeds) throws -> BaseNeeds {
        BaseNeeds(
            try needs.needs.filter { need in
                try !BaseImages.missing([need.base], on: try paths.storage(need.storage)).isEmpty
            })
    }

    /// How a guest's nics are attached here.
    func attachments(of guest: GuestDescription) -> [String: CommandLine.Attachment] {
        var result: [String: CommandLine.Attachment] = [:]
        for nic in guest.nics {
            let isBridged = configuration.networks.contains { $0.name == nic.network && $0.kind == .bridge }
            // An interface's name has at most 15 bytes. Two agents may share one kernel.
            let tap = "gw" + fingerprint("\(configuration.name)/\(guest.server)/\(nic.name)").prefix(12)
            result[nic.name] = isBridged ? .tap(tap) : .user
        }
        return result
    }

    /// Puts the taps that QEMU made on their bridges.
    func connectTaps(of guest: GuestDescription) async throws {
        for (nic, attachment) in attachments(of: guest) {
            guard case .tap(let tap) = attachment, let network = guest.nics.first(where: { $0.name == nic })?.network,
                let bridge = configuration.networks.first(where: { $0.name == network })?.bridge
            else { continue }
            _ = try await Program.succeed(
                "ip", ["link", "set", "dev", tap, "master", bridge, "up"], deadline: .seconds(10), code: .agentError,
                for: "nic \(nic) cannot be put on bridge \(bridge)")
        }
    }
}
