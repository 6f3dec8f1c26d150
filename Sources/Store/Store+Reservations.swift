import Fleet
import SQL

extension Store {
    /// Holds what a migration will need on its target, checked against what is left of it and against everything else that others may have
    /// taken since the target was chosen. Throws `overbooked`.
    func reserve(_ reservation: Reservation, for migration: Migration, in transaction: any SQLTransaction) async throws {
        guard reservation.migration == migration.id else {
            throw StoreError(.invalid, "Migration \(migration.id) cannot reserve for migration \(reservation.migration).")
        }
        let storages = reservation.storageBytes.sorted { $0.key < $1.key }
        // Everything that is looked at, behind the lock and in one exchange.
        let lock = try dialect.lockPlacementOf(migration, reservation).map { [$0] } ?? []
        let asked =
            lock + roomQueries(of: reservation.host) + [slotsQuery(for: migration, on: reservation.host)]
            + [companionsQuery(of: migration.server)] + storages.map { storageQuery($0.key, of: reservation.host) }
        let told = try await transaction.queries(asked).dropFirst(lock.count)
        try requireRoom(on: reservation.host, vcpus: reservation.vcpus, memoryBytes: reservation.memoryBytes, told)
        let rest = Array(told.dropFirst(2))
        try requireSlots(for: migration, on: reservation.host, rest[0])
        try requireCompanions(companions(rest[1]), allow: reservation.host)
        try await transaction.post(
            """
            INSERT INTO reservations (migration_id, host_id, vcpus, memory, created_at)
            VALUES (\(migration.id.value), \(reservation.host.value), \(reservation.vcpus), \(reservation.memoryBytes), \(dialect.now))
            """)
        for ((storage, bytes), rows) in zip(storages, rest.dropFirst(2)) {
            try require(bytes, of: storage, on: reservation.host, rows)
            try await transaction.post(
                """
                INSERT INTO reserved_storages (migration_id, host_id, storage, bytes)
                VALUES (\(migration.id.value), \(reservation.host.value), \(storage), \(bytes))
                """)
        }
    }

    /// What is left of a storage; and of a local one, of what it could hold what is not promised to the disks on it and to those that come.
    private func storageQuery(_ storage: String, of host: HostID) -> SQLStatement {
        """
        SELECT r.bytes, CASE WHEN s.kind = \(Storage.Kind.local.rawValue) THEN s.capacity
            - COALESCE((SELECT CAST(SUM(d.bytes) AS BIGINT) FROM server_disks d JOIN servers v ON v.id = d.server_id
                WHERE v.host_id = s.host_id AND d.storage = s.name), 0)
            - COALESCE((SELECT CAST(SUM(p.bytes) AS BIGINT) FROM reserved_storages p
                WHERE p.host_id = s.host_id AND p.storage = s.name), 0) END AS unpromised
        FROM storages s JOIN storage_rooms r ON r.host_id = s.host_id AND r.name = s.name
        WHERE s.host_id = \(host.value) AND s.name = \(storage)
        """
    }

    /// What a local storage could hold must cover what the disks on it may grow to, beside what others bring.
    private func require(_ bytes: Int64, of storage: String, on host: HostID, _ rows: [SQLRow]) throws {
        let room = try rows.first?.integer("bytes")
        guard let room, room >= bytes else {
            let left = room.map { "has \(max(0, $0)) bytes left to promise" } ?? "is not there"
            throw StoreError(.overbooked, "Storage \(storage) of host \(host) \(left); \(bytes) bytes are needed.")
        }
        guard let unpromised = try rows.first?.optionalInteger("unpromised") else { return }
        guard unpromised >= bytes else {
            throw StoreError(
                .overbooked,
                "Storage \(storage) of host \(host) has \(max(0, unpromised)) bytes that are not promised to disks; \(bytes) bytes are needed."
            )
        }
    }

    private func slotsQuery(for migration: Migration, on target: HostID) -> SQLStatement {
        let source = migration.source
        return """
            SELECT
                (SELECT inbound_slots FROM hosts WHERE id = \(target.value))
                    - (SELECT COUNT(*) FROM reservations WHERE host_id = \(target.value)) AS inbound,
                (SELECT outbound_slots FROM hosts WHERE id = \(source.value))
                    - (SELECT COUNT(*) FROM reservations r JOIN migrations m ON m.id = r.migration_id
                        WHERE m.source_id = \(source.value) AND m.mode <> \(Mode.rescue.rawValue)) AS outbound
            """
    }

    private func requireSlots(for migration: Migration, on target: HostID, _ rows: [SQLRow]) throws {
        let row = try only(rows)
        for (column, way) in [("inbound", "into host \(target)"), ("outbound", "out of host \(migration.source)")] {
            // Whoever rescues asks nothing of the source, which is down.
            if migration.mode == .rescue, column == "outbound" { continue }
            guard try row.integer(column) > 0 else {
                throw StoreError(.overbooked, "Every slot for a migration \(way) is taken.")
            }
        }
    }

    func requireCompanions(of server: ServerID, allow host: HostID, in transaction: any SQLTransaction) async throws {
        try requireCompanions(await companions(of: server, in: transaction), allow: host)
    }

    private func requireCompanions(_ companions: [GroupCompanion], allow host: HostID) throws {
        for companion in companions where companion.forbids(host) {
            throw StoreError(
                .overbooked,
                "Host \(host) is no longer one that the group \(companion.group) (\(companion.policy.rawValue)) allows: \(companion.name) was placed meanwhile."
            )
        }
    }
}
