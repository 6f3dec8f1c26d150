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
        /// Which kind it is of; -1 for a host that has told nothing.
        var kind: Int32
        /// False for a host that nothing is placed on, for its state or because it has told nothing.
        var isOpen: Bool
    }

    package init(_ loads: [HostLoad]) {
        let isSorted = zip(loads, loads.dropFirst()).allSatisfy { $0.host.name <= $1.host.name }
        let loads = isSorted ? loads : loads.sorted { $0.host.name < $1.host.name }
        self.loads = loads
        places = Dictionary(loads.indices.map { (loads[$0].host.id, $0) }) { first, _ in first }
        (rows, kinds) = Self.rows(of: loads)
    }

    /// A row for each host, and one host of each kind.
    static func rows(of loads: [HostLoad]) -> (rows: [Row], kinds: [Int]) {
        var kinds: [Int] = []
        var known: [HostKind: Int32] = [:]
        let rows = loads.withUnsafeBufferPointer { loads in
            loads.indices.map { place in
                var row = Row(of: loads, at: place)
                guard let kind = Row.kind(of: loads, at: place) else { return row }
                if let number = known[kind] {
                    row.kind = number
                } else {
                    row.kind = Int32(kinds.count)
                    known[kind] = row.kind
                    kinds.append(place)
                }
                return row
            }
        }
        return (rows, kinds)
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
    /// Read in place: a copy of a host, with thousands of them, would be most of the work. Its kind is -1 as long as nobody knows better.
    init(of loads: UnsafeBufferPointer<HostLoad>, at place: Int) {
        guard let load = loads.baseAddress.map({ $0 + place }) else { preconditionFailure("a host beyond the last one") }
        let told = load.pointee.host.told
        let overcommit = load.pointee.host.overcommit
        vcpus = told.map { Int64(overcommit.vcpus(of: $0.facts.cpus)) } ?? 0
        vcpusLeft = vcpus - Int64(load.pointee.vcpusTaken)
        memory = told.map { overcommit.memoryBytes(of: $0.facts.memoryBytes) } ?? 0
        memoryLeft = memory - load.pointee.memoryTakenBytes
        healthyUntil = load.pointee.host.healthyUntil.milliseconds
        inboundLeft = Int32(clamping: load.pointee.host.slots.inbound - load.pointee.inboundMigrations)
        migrations = Int32(clamping: load.pointee.inboundMigrations + load.pointee.outboundMigrations)
        failures = Int32(clamping: load.pointee.recentFailures)
        isOpen = told != nil && load.pointee.host.enabled && !load.pointee.host.maintenance
        kind = -1
    }

    static func kind(of loads: UnsafeBufferPointer<HostLoad>, at place: Int) -> HostKind? {
        loads.baseAddress.flatMap { ($0 + place).pointee.host.told?.kind }
    }
}
