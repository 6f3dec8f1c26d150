package import Fleet

/// `POST /v1/guests/{server}/pause`: have the guest's vCPUs stand still, or have them execute again. Refused for a guest that is off, and
/// while a migration takes it away.
package struct PauseOrder: Sendable, Codable {
    package var epoch: Epoch
    /// False resumes.
    package var isPaused: Bool

    package init(epoch: Epoch, isPaused: Bool) {
        self.epoch = epoch
        self.isPaused = isPaused
    }
}

/// `POST /v1/guests/{server}/cdrom`: have this medium, and no other, in the guest's cdrom; also while the guest runs.
package struct CDROMOrder: Sendable, Codable {
    package var epoch: Epoch
    /// A path on the host; "" leaves the drive empty.
    package var medium: String

    package init(epoch: Epoch, medium: String) {
        self.epoch = epoch
        self.medium = medium
    }
}

/// `POST /v1/bases/missing`: which of these base images the host does not have. The answer is of the same shape.
package struct BaseNeeds: Hashable, Sendable, Codable {
    package struct Need: Hashable, Sendable, Codable {
        /// Name of the storage on which the image must lie, beside the disk that rests on it.
        package var storage: String
        package var base: GuestDescription.BaseImage

        package init(storage: String, base: GuestDescription.BaseImage) {
            self.storage = storage
            self.base = base
        }
    }

    package var needs: [Need]

    package init(_ needs: [Need]) {
        self.needs = needs
    }

    /// What a server's disks rest on, each once, in the order in which it can be put in place: what another rests on comes first.
    /// - Parameter disks: names of disks that are left out.
    package init(of guest: GuestDescription, except disks: [String] = []) {
        var needs: [Need] = []
        for disk in guest.disks where !disks.contains(disk.name) {
            for base in (disk.bases ?? []).reversed() {
                let need = Need(storage: disk.storage, base: base)
                if !needs.contains(need) { needs.append(need) }
            }
        }
        self.needs = needs
    }
}
