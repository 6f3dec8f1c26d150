package import Fleet

/// What a server will take of a host: what placement looks for, and what a reservation then holds.
package struct Needs: Hashable, Sendable {
    package let vcpus: Int
    package let memoryBytes: Int64
    /// Bytes by storage name that may have to be written: the virtual size of every disk that is not on shared storage.
    package let localBytes: [String: Int64]
    /// Names of shared storages that must be there.
    package let sharedStorages: Set<String>
    /// By name of a local storage, what the disks there rest on.
    private let bases: [String: [GuestDescription.BaseImage]]

    /// - Parameter storages: the source's. A storage that it does not list is taken for a local one, which asks for more.
    package init(_ description: GuestDescription, storages: [Storage]) {
        vcpus = description.vcpus
        memoryBytes = description.memoryBytes
        let shared = Set(storages.lazy.filter { $0.kind == .shared }.map(\.name))
        var localBytes: [String: Int64] = [:]
        var sharedStorages: Set<String> = []
        var bases: [String: [GuestDescription.BaseImage]] = [:]
        for disk in description.disks {
            if shared.contains(disk.storage) {
                sharedStorages.insert(disk.storage)
            } else {
                localBytes[disk.storage, default: 0] += disk.sizeBytes
                for base in disk.bases ?? [] where bases[disk.storage]?.contains(base) != true {
                    bases[disk.storage, default: []].append(base)
                }
            }
        }
        self.localBytes = localBytes
        self.sharedStorages = sharedStorages
        self.bases = bases
    }

    /// True when there is a disk to copy.
    package var hasLocalDisks: Bool { !localBytes.isEmpty }

    /// Bytes, at most, of the base images that have to be brought to a local storage; 0 where nobody knows what is there.
    func baseBytes(lackingOn storage: Storage) -> Int64 {
        guard let wanted = bases[storage.name], let there = storage.bases else { return 0 }
        return wanted.reduce(0) { $0 + (there.contains($1.name) ? 0 : $1.sizeBytes) }
    }

    /// - Parameter storages: the host's, to count the base images in that have to be brought there.
    package func reservation(of migration: MigrationID, on host: HostID, storages: [Storage] = []) -> Reservation {
        var bytes = localBytes
        for storage in storages where bytes[storage.name] != nil { bytes[storage.name]? += baseBytes(lackingOn: storage) }
        return Reservation(migration: migration, host: host, vcpus: vcpus, memoryBytes: memoryBytes, storageBytes: bytes)
    }
}
