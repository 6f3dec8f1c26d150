import Backends
import Fleet
import SQL
import Store
import Testing

/// What the database refuses to anybody, whatever the code says.
@Suite struct RuleTests {
    @Test(arguments: Backend.available)
    func `a second unfinished migration of a server`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let migration = try await store.submit(server)
            do {
                try await store.database.write { transaction in
                    try await transaction.execute(
                        """
                        INSERT INTO migrations (id, server_id, mode, options, state, direction, epoch, attempt, max_attempts, source_id,
                            excluded, actor, claimable, active, created_at, due_at)
                        SELECT 'other', server_id, mode, options, state, direction, epoch, attempt, max_attempts, source_id, excluded,
                            actor, claimable, active, created_at, due_at
                        FROM migrations WHERE id = \(migration.id.value)
                        """)
                }
                Issue.record("accepted")
            } catch let error as SQLError {
                // Engines tell the index or its column.
                #expect([.constraint("migrations.server_id"), .constraint("migrations_unfinished")].contains(error.code))
            }
        }
    }

    @Test(arguments: Backend.available)
    func `changes of the history`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let migration = try await store.submit(store.addServer("web", on: host))
            await breach("transitions_append_only", of: store, "UPDATE transitions SET actor = 'nobody'")
            await breach("transitions_append_only", of: store, "DELETE FROM transitions")
            #expect(try await store.history(of: migration.id).map(\.actor) == ["ada"])
        }
    }

    @Test(arguments: Backend.available)
    func `epochs that fall, a finished migration that changes, an unfinished one that goes`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let host = try await store.addHost("one")
            let server = try await store.addServer("web", on: host)
            let claimed = try await store.claim(server)
            await breach("servers_epoch_rises", of: store, "UPDATE servers SET epoch = epoch - 1")
            await breach("migrations_epoch_rises", of: store, "UPDATE migrations SET epoch = epoch - 1")
            await breach("migrations_unfinished_kept", of: store, "DELETE FROM migrations")
            await breach("servers_in_migration_kept", of: store, "DELETE FROM servers")
            try await store.fail(claimed)
            await breach("migrations_finished_for_good", of: store, "UPDATE migrations SET awaiting = 'more'")
            await breach("migrations_finished_for_good", of: store, "UPDATE migrations SET finished_at = NULL, claimable = 1")
        }
    }

    @Test(arguments: Backend.available)
    func `columns that do not fit the state`(_ backend: Backend) async throws {
        try await withStore(backend) { store in
            let (one, two) = (try await store.addHost("one"), try await store.addHost("two"))
            let migration = try await store.bring(store.claim(store.addServer("web", on: one)), toSwitchingOn: two)
            #expect(migration.state == .switching)
            await breach("migrations_one_place", of: store, "UPDATE migrations SET claimable = 1")
            await breach("migrations_active_leased", of: store, "UPDATE migrations SET lease_until = NULL")
            await breach("migrations_target_chosen", of: store, "UPDATE migrations SET target_id = NULL")
            await breach("migrations_target_elsewhere", of: store, "UPDATE migrations SET target_id = source_id")
            await breach("migrations_attempt_counted", of: store, "UPDATE migrations SET attempt = 0")
            await breach("migrations_attempt_counted", of: store, "UPDATE migrations SET attempt = 9")
            await breach("migrations_reason_whole", of: store, "UPDATE migrations SET reason_code = 'stalled'")
            await breach("migrations_failure_named", of: store, "UPDATE migrations SET direction = 'rollback'")
            await breach("migrations_end_settles_server", of: store, "UPDATE migrations SET finished_at = 1")
            await breach("migrations_ready_placed", of: store, "UPDATE migrations SET state = 'ready'")
            await breach(
                "servers_placed_as_reserved", of: store, "UPDATE servers SET host_id = \(try await store.addHost("three").id.value)")
            await breach("servers_operation_held", of: store, "UPDATE servers SET status = 'starting'")
            try await store.database.write { try await $0.execute("UPDATE servers SET status = 'running'") }
            await breach(
                "migrations_finished_in_time", of: store,
                "UPDATE migrations SET finished_at = 1, active = 0, lease_owner = NULL, lease_until = NULL, admitted = 0")
        }
    }

    @Test(arguments: Backend.available, Mode.allCases)
    func `every state that the machine does not reach from the one before`(_ backend: Backend, _ mode: Mode) async throws {
        // What the pure machine allows, forwards.
        var allowed: Set<[MigrationState]> = []
        for state in MigrationState.allCases {
            let events: [MigrationMachine.Event] = [
                .claimed, .placed(hasLocalDisks: true), .placed(hasLocalDisks: false), .disksSynced, .sourceStopped, .targetOwns,
            ]
            for event in events {
                var machine = MigrationMachine(
                    mode: mode, state: state, direction: .forward, attempt: state == .pending ? 0 : 1, maxAttempts: 3, fault: nil)
                do { _ = try machine.apply(event) } catch { continue }
                allowed.insert([state, machine.state])
            }
        }
        try await withStore(backend) { store in
            for direction in Direction.allCases {
                for from in MigrationState.allCases {
                    // Also those that this mode never is in are tried as next ones, all of them.
                    guard let way = Self.way(of: mode, to: from) else { continue }
                    for to in MigrationState.allCases where to != from {
                        let isBack = to == .scheduling || to == .failed
                        let isUntouched = from == .pending || from == .scheduling
                        let isAllowed = allowed.contains([from, to]) || (isBack && (direction == .rollback || isUntouched))
                        let isRefused = try await refuses(store, mode, direction, way, to)
                        #expect(isRefused != isAllowed, "\(mode) \(direction) \(from) to \(to)")
                    }
                }
            }
        }
    }

    /// Whether the rule about states refuses one change. Nothing of it is kept.
    private func refuses(
        _ store: Store, _ mode: Mode, _ direction: Direction, _ way: [MigrationState], _ to: MigrationState
    ) async throws -> Bool {
        struct Back: Error {}
        do {
            try await store.database.write { transaction in
                try await transaction.script(
                    """
                    INSERT INTO hosts (id, name, agent_url, enabled, healthy_until, vcpus_capacity, memory_capacity, facts, created_at)
                    VALUES ('a', 'a', '', 1, 0, 10, 10, '{}', 0), ('b', 'b', '', 1, 0, 10, 10, '{}', 0);
                    INSERT INTO servers (id, name, status, host_id, epoch, vcpus, memory, description, created_at)
                    VALUES ('s', 's', 'ready', 'a', 1, 1, 1, '{}', 0);
                    INSERT INTO migrations (id, server_id, mode, options, state, direction, epoch, attempt, max_attempts, source_id,
                        excluded, actor, claimable, active, created_at, due_at)
                    VALUES ('m', 's', '\(mode.rawValue)', '{}', 'pending', 'forward', 1, 0, 3, 'a', '{}', 'ada', 1, 0, 0, 0);
                    INSERT INTO reservations (migration_id, host_id, vcpus, memory, created_at) VALUES ('m', 'b', 1, 1, 0);
                    """)
                for step in way {
                    try await transaction.execute(
                        "UPDATE migrations SET state = \(step.rawValue), target_id = 'b', attempt = 1 WHERE id = 'm'")
                }
                try await transaction.execute(
                    "UPDATE migrations SET direction = \(direction.rawValue), reason_code = 'r', reason_message = 'r' WHERE id = 'm'")
                try await transaction.execute("UPDATE servers SET host_id = 'b' WHERE id = 's'")
                try await transaction.execute(
                    """
                    UPDATE migrations SET state = \(to.rawValue), target_id = 'b', attempt = 1,
                        claimable = \(!to.isFinished), finished_at = \(to.isFinished ? 1 : nil as Int?) WHERE id = 'm'
                    """)
                throw Back()
            }
        } catch is Back {
            return false
        } catch let error as SQLError where error.code == .constraint("migrations_state_follows") {
            return true
        }
        return false
    }

    /// The states from after `pending` up to one, by a way that its mode has; nil for one that it never is in, and for the last ones.
    private static func way(of mode: Mode, to state: MigrationState) -> [MigrationState]? {
        let whole: [MigrationState] =
            switch mode {
            case .live: [.pending, .scheduling, .syncingDisk, .syncingMemory, .switching]
            case .cold: [.pending, .scheduling, .syncingDisk, .switching]
            case .rescue: [.pending, .scheduling, .switching]
            }
        return whole.firstIndex(of: state).map { Array(whole[1..<($0 + 1)]) }
    }
}
