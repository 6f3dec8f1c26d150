package import Fleet

/// Whose a server is, as it stands beside its disks on every shared storage that it has one on: where each host that could run it can
/// read it. A host that finds a newer owner than itself lets go of the guest.
package struct OwnerRecord: Hashable, Sendable, Codable {
    package var server: ServerID
    /// The epoch under which the host became the owner.
    package var epoch: Epoch
    /// The host's name.
    package var host: String

    package init(server: ServerID, epoch: Epoch, host: String) {
        self.server = server
        self.epoch = epoch
        self.host = host
    }
}
