import Fleet
import SQL

extension Store {
    /// Holds what a migration will need on its target, checked against what is left of it and against everything else that others may have
    /// taken since the target was chosen. Throws `overbooked`.
    func reserve(_ reservation: Reservation, for migration: Migration, in transaction: any SQLTransaction) async throws {
        guard reservation.migration == migration.id else {
            throw StoreError(.invalid, "Migration \(migration.id) cannot reserve for migration \(reservation.migration).")
        }
        try await lockPlacement(in: transaction)
        try await requireRoom(on: reservation.host, vcpus: reservation.vcpus, memoryBytes: reservation.memoryBytes, in: transaction)
        try await requireSlots(for: migration, on: reservation.host, in: transaction)
        try await requireCompanions(of: migration.server, allow: reservation.host, in: transaction)
        try await transaction.execute(
            """
            INSERT INTO reservations (migration_id, host_id, vcpus, memory, created_at)
            VALUES (\(migration.id.value), \(reservation.host.value), \(reservation.vcpus), \(reservation.memoryBytes), \(dialect.now))
            """)
        for (storage, bytes) in reservation.storageBytes.sorted(by: { $0.key < $1.key }) {
            let room = try await transaction.query(
                "SELECT bytes FROM storage_rooms WHERE host_id = \(reservation.host.value) AND name = \(storage)"
            ).first?.integer("bytes")
            guard let room, room >= bytes else {
                let left = room.map { "has \(max(0, $0)) bytes left to promise" } ?? "is not there"
                throw StoreError(.overbooked, "Storage \(storage) of host \(reservation.host) \(left); \(bytes) bytes are needed.")
            }
            try await requireUnpromised(bytes, of: storage, on: reservation.host, in: transaction)
            try await transaction.execute(
                """
                INSERT INTO reserved_storages (migration_id, host_id, storage, bytes)
                VALUES (\(migration.id.value), \(reservation.host.value), \(storage), \(bytes))
                """)
        }
    }

    /// What a local storage could hold must cover what the disks on it may grow to, beside what others bring.
    private func requireUnpromised(_ bytes: Int64, of storage: String, on host: HostID, in transaction: any SQLTransaction) async throws {
        let rows = try await transaction.query(
            """
            SELECT s.capacity
                - COALESCE((SELECT SUM(d.bytes) FROM server_disks d JOIN servers v ON v.id = d.server_id
                    WHERE v.host_id = s.host_id AND d.storage = s.name), 0)
                - COALESCE((SELECT SUM(r.bytes) FROM reserved_storages r WHERE r.host_id = s.host_id AND r.storage = s.name), 0) AS unpromised
            FROM storages s WHERE s.host_id = \(host.value) AND s.name = \(storage) AND s.kind = \(Storage.Kind.local.rawValue)
            """)
        guard let row = rows.first else { return }
        let unpromised = try row.integer("unpromised")
        guard unpromised >= bytes else {
            throw StoreError(
                .overbooked,
                "Storage \(storage) of host \(host) has \(max(0, unpromised)) bytes that are not promised to disks; \(bytes) bytes are needed."
            )
        }
    }

    private func requireSlots(for migration: Migration, on target: HostID, in transaction: any SQLTransaction) async throws {
        let source = migration.source
        let row = try only(
            await transaction.query(
                """
                SELECT
                    (SELECT inbound_slots FROM hosts WHERE id = \(target.value))
                        - (SELECT COUNT(*) FROM reservations WHERE host_id = \(target.value)) AS inbound,
                    (SELECT outbound_slots FROM hosts WHERE id = \(source.value))
                        - (SELECT COUNT(*) FROM reservations r JOIN migrations m ON m.id = r.migration_id
                            WHERE m.source_id = \(source.value) AND m.mode <> \(Mode.rescue.rawValue)) AS outbound
                """))
        for (column, way) in [("inbound", "into host \(target)"), ("outbound", "out of host \(source)")] {
            // Whoever rescues asks nothing of the source, which is down.
            if migration.mode == .rescue, column == "outbound" { continue }
            guard try row.integer(column) > 0 else {
                throw StoreError(.overbooked, "Every slot for a migration \(way) is taken.")
            }
        }
    }

    func requireCompanions(of server: ServerID, allow host: HostID, in transaction: any SQLTransaction) async throws {
        for companion in try await companions(of: server, in: transaction) where companion.forbids(host) {
            throw StoreError(
                .overbooked,
                "Host \(host) is no longer one that the group \(companion.group) (\(companion.policy.rawValue)) allows: \(companion.name) was placed meanwhile."
            )
        }
    }
}
