package import Fleet

/// All hosts with what is promised of them, laid out so that a server is placed among thousands in a few microseconds: what changes from
/// placement to placement stands in one row of numbers a host, what hosts are in one value for all of a kind.
///
/// A value: whoever places many servers in a row keeps one and tells it each reservation.
package struct FleetSnapshot: Sendable {
    /// By name.
    package private(set) var loads: [HostLoad]
    private let places: [HostID: Int]
    private(set) var rows: [Row]
    /// One host of each kind.
    private(set) var kinds: [Int]

    /// A host's numbers. Promised and left are both kept so that a rank takes no look elsewhere.
    struct Row: Sendable {
        var vcpusLeft: Int64
        var vcpus: Int64
        var memoryLeft: Int64
        var memory: Int64
        /// Milliseconds since 1970.
        var healthyUntil: Int64
        var inboundLeft: Int32
        var migrations: Int32
        var failures: Int32
        /// Which kind it is of; -1 for a host that nothing is placed on, for its state or because it has told nothing.
        var kind: Int32
    }

    package init(_ loads: [HostLoad]) {
        let isSorted = zip(loads, loads.dropFirst()).allSatisfy { $0.host.name <= $1.host.name }
        let loads = isSorted ? loads : loads.sorted { $0.host.name < $1.host.name }
        self.loads = loads
        places = Dictionary(loads.indices.map { (loads[$0].host.id, $0) }) { first, _ in first }
        var kinds: [Int] = []
        var known: [Kind: Int32] = [:]
        rows = loads.indices.map { place in
            var row = loads.withUnsafeBufferPointer { Row(of: $0, at: place) }
            if row.kind >= 0, let facts = loads[place].host.facts {
                let kind = Kind(facts)
                if let number = known[kind] {
                    row.kind = number
                } else {
                    row.kind = Int32(kinds.count)
                    known[kind] = row.kind
                    kinds.append(place)
                }
            }
            return row
        }
        self.kinds = kinds
    }

    func place(of host: HostID) -> Int? { places[host] }

    package subscript(_ host: HostID) -> HostLoad? { places[host].map { loads[$0] } }

    /// Counts a reservation as held on its host, and the migration as on its way from the source.
    package mutating func hold(_ reservation: Reservation, from source: HostID) {
        if let place = places[reservation.host] {
            loads[place].vcpusTaken += reservation.vcpus
            loads[place].memoryTakenBytes += reservation.memoryBytes
            for (storage, bytes) in reservation.storageBytes { loads[place].storageReservedBytes[storage, default: 0] += bytes }
            loads[place].inboundMigrations += 1
            renew(place)
        }
        if let place = places[source] {
            loads[place].outboundMigrations += 1
            renew(place)
        }
    }

    /// Counts a migration as ended with its server on the target: what it reserved there is the server's now, and the source has its room back.
    package mutating func settle(_ reservation: Reservation, from source: HostID) {
        if let place = places[reservation.host] {
            for (storage, bytes) in reservation.storageBytes {
                loads[place].storageReservedBytes[storage, default: 0] -= bytes
                loads[place].storagePromisedBytes[storage, default: 0] += bytes
            }
            loads[place].inboundMigrations -= 1
            renew(place)
        }
        if let place = places[source] {
            loads[place].vcpusTaken -= reservation.vcpus
            loads[place].memoryTakenBytes -= reservation.memoryBytes
            for (storage, bytes) in reservation.storageBytes { loads[place].storagePromisedBytes[storage, default: 0] -= bytes }
            loads[place].outboundMigrations -= 1
            renew(place)
        }
    }

    private mutating func renew(_ place: Int) {
        let kind = rows[place].kind
        rows[place] = loads.withUnsafeBufferPointer { Row(of: $0, at: place) }
        rows[place].kind = kind
    }
}

extension FleetSnapshot.Row {
    /// Read in place: a copy of a host, with thousands of them, would be most of the work. Its kind is 0 as long as nobody knows better.
    init(of loads: UnsafeBufferPointer<HostLoad>, at place: Int) {
        guard let load = loads.baseAddress.map({ $0 + place }) else { preconditionFailure("a host beyond the last one") }
        let capacity = load.pointee.host.capacity
        vcpus = Int64(capacity.vcpus)
        vcpusLeft = vcpus - Int64(load.pointee.vcpusTaken)
        memory = capacity.memoryBytes
        memoryLeft = memory - load.pointee.memoryTakenBytes
        healthyUntil = capacity.healthyUntil.milliseconds
        inboundLeft = Int32(clamping: capacity.slots.inbound - load.pointee.inboundMigrations)
        migrations = Int32(clamping: load.pointee.inboundMigrations + load.pointee.outboundMigrations)
        failures = Int32(clamping: load.pointee.recentFailures)
        kind = capacity.isOpen ? 0 : -1
    }
}

/// What hosts of one kind have in common: all that a filter asks of a host's facts but for figures.
private struct Kind: Hashable {
    let facts: HostFacts

    init(_ facts: HostFacts) { self.facts = facts }

    /// By what differs most often; ``==`` looks at the rest.
    func hash(into hasher: inout Hasher) {
        hasher.combine(facts.cpuModel)
        hasher.combine(facts.microcode)
        hasher.combine(facts.kernel)
        hasher.combine(facts.qemuVersion)
        hasher.combine(facts.storages.count)
        hasher.combine(facts.networks.count)
    }

    static func == (left: Kind, right: Kind) -> Bool {
        let (left, right) = (left.facts, right.facts)
        return left.cpuModel == right.cpuModel && left.microcode == right.microcode && left.kernel == right.kernel
            && left.architecture == right.architecture && left.pageSizeBytes == right.pageSizeBytes
            && left.qemuVersion == right.qemuVersion && left.accelerator == right.accelerator && left.networks == right.networks
            && left.storages.count == right.storages.count
            && zip(left.storages, right.storages).allSatisfy { $0.name == $1.name && $0.kind == $1.kind }
            && left.hasUEFI == right.hasUEFI && left.hasTPM == right.hasTPM && left.machineTypes == right.machineTypes
            && left.guestCPUModels == right.guestCPUModels
    }
}
