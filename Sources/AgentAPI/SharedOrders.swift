package import Fleet

/// `POST /v1/guests/{server}/shared`: one part of the proof that storages are what two hosts call them. The source writes a nonce, the
/// target looks for it, the source takes it away: what both call shared must show it, what both call local must not.
package struct ProofOrder: Sendable, Codable {
    package enum Act: String, Sendable, Codable {
        case write
        case look
        case remove
    }

    package var epoch: Epoch
    package var key: AttemptKey
    package var act: Act
    /// Names of storages.
    package var storages: [String]
    /// The content of the file, which nobody can know by chance.
    package var nonce: String

    package init(epoch: Epoch, key: AttemptKey, act: Act, storages: [String], nonce: String) {
        self.epoch = epoch
        self.key = key
        self.act = act
        self.storages = storages
        self.nonce = nonce
    }
}

/// `PUT /v1/guests/{server}/adopted`: have the server defined here as it is: every disk is on shared storage and stays where it is, nothing
/// is made and nothing is started. From then on the owner records of its storages name this host, and whoever owned it before ends its guest.
package struct AdoptOrder: Sendable, Codable {
    package var epoch: Epoch
    package var key: AttemptKey
    package var description: GuestDescription
    /// Names of the hosts that the owner records may name until now: the one that is left first, then those that were tried in vain.
    package var owners: [String]

    package init(epoch: Epoch, key: AttemptKey, description: GuestDescription, owners: [String]) {
        self.epoch = epoch
        self.key = key
        self.description = description
        self.owners = owners
    }
}
