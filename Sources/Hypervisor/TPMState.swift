import AgentAPI
import Failpoints
package import Fleet
import Foundation
import Glibc

/// Where a guest's swtpm finds what its TPM keeps.
///
/// swtpm locks the folder of its state as soon as QEMU has it begin, so that a source's and a target's cannot both have the one on shared
/// storage. There a target's is given a link to a folder of this host alone. Once the guest is this host's, and before it runs, what came with
/// it is written where it belongs, and the link is changed: swtpm (0.7) finds each file that it writes by its path. Until then nobody but the
/// source writes there, and after a crash at any point what stands there is whole and as new as what the guest has seen.
package final class TPMState: Sendable {
    private let paths: GuestPaths
    private let turnstile = Turnstile()
    /// All that outlives a TPM 2.0's power; what else swtpm keeps in files is of the moment.
    private static let file = "tpm2-00.permall"

    package init(_ paths: GuestPaths) {
        self.paths = paths
    }

    /// Has a place ready for a swtpm that is about to be started; none may run.
    /// - Returns: the folder to give it.
    package func prepare(for guest: GuestDescription, isIncoming: Bool) throws -> String {
        try clear()
        let place = try paths.tpm(of: guest)
        guard isIncoming, let first = guest.disks.first, paths.isShared(first.storage) else {
            try DurableFile.makeFolder(place)
            return place
        }
        try DurableFile.makeFolder(paths.tpmArrival)
        try link(to: paths.tpmArrival)
        return paths.tpmLink
    }

    /// Has the TPM of a guest that is this host's now keep its state where it belongs, before the guest runs. Done again it finds that done.
    /// - Throws: ``AgentProblem`` when that cannot be: the guest must not run then.
    package func settle(_ guest: GuestDescription?) async throws {
        guard let guest, guest.tpm != nil else { return }
        try await turnstile.pass { try await offloaded { try self.settleNow(guest) } }
    }

    private func settleNow(_ guest: GuestDescription) throws {
        var status = stat()
        guard lstat(paths.tpmLink, &status) == 0 else {
            // Without a link it was started where it belongs.
            if errno == ENOENT { return }
            throw AgentProblem(.failed, .agentError, "\(paths.tpmLink) cannot be read: \(systemMessage(errno))")
        }
        let now = try FileManager.default.destinationOfSymbolicLink(atPath: paths.tpmLink)
        let place = try paths.tpm(of: guest)
        guard now != place else { return }
        guard let bytes = try DurableFile.read("\(paths.tpmArrival)/\(Self.file)"), !bytes.isEmpty else {
            throw AgentProblem(.failed, .agentError, "the state of the TPM did not come: there is none in \(paths.tpmArrival)")
        }
        try DurableFile.makeFolder(place)
        try DurableFile.write(bytes, to: "\(place)/\(Self.file)", as: .tpmState)
        try DurableFile.syncFolder(of: place)
        try link(to: place)
        try DiskImages.removeFolder(paths.tpmArrival)
    }

    /// Has the link lead there, at once and durably.
    private func link(to place: String) throws {
        let draft = paths.tpmLink + ".new"
        unlink(draft)
        guard symlink(place, draft) == 0, rename(draft, paths.tpmLink) == 0 else {
            throw AgentProblem(.failed, .agentError, "\(paths.tpmLink) cannot be made: \(systemMessage(errno))")
        }
        try DurableFile.syncFolder(of: paths.tpmLink)
    }

    /// Has nothing left but what is where it belongs; no swtpm may run.
    package func clear() throws {
        for path in [paths.tpmLink, paths.tpmLink + ".new"] { unlink(path) }
        try DiskImages.removeFolder(paths.tpmArrival)
    }
}
