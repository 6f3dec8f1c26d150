package import Fleet

/// What a server will take of a host: what placement looks for, and what a reservation then holds.
package struct Needs: Hashable, Sendable {
    package let vcpus: Int
    package let memoryBytes: Int64
    /// Bytes by storage name that may have to be written: the virtual size of every disk that is not on shared storage.
    package let localBytes: [String: Int64]
    /// Names of shared storages that must be there.
    package let sharedStorages: Set<String>

    /// - Parameter storages: the source's. A storage that it does not list is taken for a local one, which asks for more.
    package init(_ description: GuestDescription, storages: [Storage]) {
        vcpus = description.vcpus
        memoryBytes = description.memoryBytes
        let shared = Set(storages.lazy.filter { $0.kind == .shared }.map(\.name))
        var localBytes: [String: Int64] = [:]
        var sharedStorages: Set<String> = []
        for disk in description.disks {
            if shared.contains(disk.storage) {
                sharedStorages.insert(disk.storage)
            } else {
                localBytes[disk.storage, default: 0] += disk.sizeBytes
            }
        }
        self.localBytes = localBytes
        self.sharedStorages = sharedStorages
    }

    /// True when there is a disk to copy.
    package var hasLocalDisks: Bool { !localBytes.isEmpty }

    package func reservation(of migration: MigrationID, on host: HostID) -> Reservation {
        Reservation(migration: migration, host: host, vcpus: vcpus, memoryBytes: memoryBytes, storageBytes: localBytes)
    }
}
