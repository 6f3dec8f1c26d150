import AgentAPI
import Client
import Fleet
import Foundation
import Logging
import Placement
import Store

/// What a migration would find and take: asks the store where, the source what there is to move, both hosts how fast, and has
/// ``Forecast`` compute the rest. Nothing is submitted, reserved or changed.
struct Forecaster {
    let store: Store
    let agents: any AgentDirectory
    let log: Logger

    /// So many hosts are asked for the features of their CPUs; beyond them nobody will go.
    private static let featuresAsked = 32
    private static let quick = Duration.seconds(10)
    /// What is lost to encryption, as a share of a stream's rate (measured with QEMU 7.2).
    private static let tlsShare = 0.7
    /// Where only half of it is known.
    private static let unknownRate: Int64 = 100_000_000

    func forecast(_ server: Server, mode: Mode, _ options: MigrationOptions, measures: Bool) async throws -> ForecastView {
        let (loads, now) = try await store.hostLoadsNow()
        let fleet = FleetSnapshot(loads)
        let request = PlacementRequest(
            server: server.id, description: server.description, source: server.host, mode: mode, options: options,
            companions: try await store.companions(of: server.id))
        var (candidates, rejections) = Placement.survey(request, in: fleet, now: now)
        var notes = notes(server, mode)
        if mode == .rescue, let source = fleet[server.host]?.host,
            let refusal = MigrationRefusal.problem(
                MigrationRequest(mode: mode, options: options, preferHost: nil), of: server, on: source, at: now)
        {
            notes.append(refusal.detail)
        }
        if request.asksForFeatures, !candidates.isEmpty {
            (candidates, rejections) = try await checked(request, candidates, fleet, at: now, &notes)
        }
        let views = Views(hosts: loads.map(\.host), names: [server.id: server.name])
        var view = ForecastView(
            server: views.named(server.id), mode: mode, sourceHost: views.named(server.host),
            candidates: candidates.compactMap { fleet[$0] }.map { CandidateView($0, views) },
            rejected: rejections.byName().map {
                RejectionView(host: Named(id: $0.host.value, name: $0.name), filter: $0.filter.rawValue, wanted: $0.wanted, found: $0.found)
            })
        if measures, let best = candidates.first, let source = fleet[server.host]?.host, let target = fleet[best]?.host {
            do {
                view.estimate = try await estimate(server, mode, options, from: source, to: target, views, &notes)
            } catch let problem as AgentProblem {
                notes.append("What it would take cannot be told: \(problem.reason.message).")
            }
        }
        view.notes = notes
        return view
    }

    /// What stands in the way now, whatever the hosts are like.
    private func notes(_ server: Server, _ mode: Mode) -> [String] {
        switch (mode, server.status) {
        case (.live, .running), (.cold, .ready), (.rescue, .ready), (.rescue, .running), (.rescue, .starting), (.rescue, .stopping): []
        case (.live, _): ["\(server.name) is \(server.status.rawValue); a live migration needs it running."]
        case (.cold, _):
            ["\(server.name) is \(server.status.rawValue); a cold migration needs it stopped. Ask with --live-migrate for a live one."]
        case (.rescue, _): ["\(server.name) is \(server.status.rawValue); a rescue needs it running or ready."]
        }
    }

    /// Surveys again with what the QEMUs of the candidates say about the features of the guest's CPU.
    private func checked(
        _ request: PlacementRequest, _ candidates: [HostID], _ fleet: FleetSnapshot, at now: Timestamp, _ notes: inout [String]
    ) async throws -> ([HostID], Rejections) {
        let unasked = candidates.count - Self.featuresAsked
        if unasked > 0 {
            notes.append("Of \(unasked) of the hosts it is not known whether they offer the guest's CPU: only the best were asked.")
        }
        guard let source = fleet[request.source]?.host else { return Placement.survey(request, in: fleet, now: now) }
        var request = request
        do {
            let (agent, server) = (agents.agent(of: source), request.server)
            let features = try await within(Self.quick) { try await agent.cpuFeatures(server) }.features
            request.missingFeatures = await withTaskGroup(of: (HostID, [String]).self) { group in
                for host in candidates.prefix(Self.featuresAsked).compactMap({ fleet[$0]?.host }) {
                    let agent = agents.agent(of: host)
                    group.addTask {
                        do {
                            return (
                                host.id,
                                try await within(Self.quick) { try await agent.checkCPU(CPUCheckOrder(features: features)) }.missing
                            )
                        } catch {
                            return (host.id, ["an answer (\(error))"])
                        }
                    }
                }
                return await group.reduce(into: [:]) { missing, answer in if !answer.1.isEmpty { missing[answer.0] = answer.1 } }
            }
        } catch let problem as AgentProblem {
            notes.append("The features of the guest's CPU cannot be told: \(problem.reason.message).")
        }
        return Placement.survey(request, in: fleet, now: now)
    }

    private func estimate(
        _ server: Server, _ mode: Mode, _ options: MigrationOptions, from source: Fleet.Host, to target: Fleet.Host, _ views: Views,
        _ notes: inout [String]
    ) async throws -> EstimateView? {
        let experience = try await store.experience(mode, between: source.id, and: target.id, encrypted: options.enableTLS)
        var input = Forecast.Input(
            mode: mode, options: options, diskBytes: 0, memoryRate: Self.unknownRate, diskRate: Self.unknownRate,
            overheadMS: experience.overheadMS ?? (mode == .live ? Forecast.usualOverheadMS : 500),
            switchMS: experience.switchMS ?? Forecast.usualSwitchMS,
            largestBytes: CompletionDeadline.bytes(of: server.description, mode: mode))
        var measured: MeasureReport?
        // Nothing of a rescue can be asked of its source.
        if mode != .rescue {
            let agent = agents.agent(of: source)
            let report = try await within(.seconds(20)) { try await agent.measure(server.id, MeasureOrder(watches: mode == .live)) }
            measured = report
            notes += report.warnings.map { "\(source.name): \($0)." }
            let needs = Needs(server.description, storages: source.facts?.storages ?? [])
            let local = report.disks.filter { needs.localBytes[$0.storage] != nil }
            input.diskBytes = local.reduce(0) { $0 + $1.allocatedBytes }
            input.diskBytes += await basesToBring(server, report.bases ?? [], local.map(\.name), to: target, &notes)
            if let disk = local.max(by: { $0.allocatedBytes < $1.allocatedBytes }), disk.allocatedBytes > 0 {
                let rehearsed = await rate(server, disk: disk, options, source, target, &notes)
                input.diskRate = Forecast.rate(rehearsed: rehearsed, seen: experience.diskRate) ?? Self.unknownRate
            }
            if mode == .live {
                input.memoryBytes = report.memoryBytes
                input.memoryUsedBytes = report.memoryUsedBytes ?? report.memoryBytes
                input.dirtied = report.dirtied
                let rehearsed = await rate(server, disk: nil, options, source, target, &notes)
                input.memoryRate = Forecast.rate(rehearsed: rehearsed, seen: experience.memoryRate) ?? Self.unknownRate
                if experience.memoryRate == nil, options.maxBandwidthMB == nil {
                    notes.append(
                        "No live migration has told yet what goes between \(source.name) and \(target.name): the times rest on a rehearsal of one second, and the first one takes longer beside a busy guest."
                    )
                }
                if !report.isRunning { notes.append("The guest does not run now, so that nothing is known of how it dirties memory.") }
            }
        }
        let forecast = Forecast(input)
        if !forecast.converges {
            notes.append("It would not converge: raise --max-bandwidth-mb or --max-downtime-ms, or allow --quickly-finish or --post-copy.")
        }
        let second = measured?.dirtied.first { $0.milliseconds >= 1000 }
        return EstimateView(
            targetHost: views.named(target.id), diskBytes: forecast.diskBytes, memoryBytes: forecast.memoryBytes, diskMS: forecast.diskMS,
            memoryMS: forecast.memoryMS, totalMS: forecast.totalMS, rounds: forecast.rounds, blackoutMS: forecast.blackoutMS,
            converges: forecast.converges, throttlePercent: forecast.throttlePercent, downtimeLimitMS: forecast.downtimeLimitMS,
            diskRateBytesPerSecond: forecast.diskRate, memoryRateBytesPerSecond: forecast.memoryRate,
            memoryUsedBytes: measured?.memoryUsedBytes,
            dirtyRateBytesPerSecond: second.map { $0.bytes * 1000 / $0.milliseconds })
    }

    /// Bytes of the base images that the server's local disks rest on and that the target lacks.
    /// - Parameter there: what the source has of them.
    private func basesToBring(
        _ server: Server, _ there: [DiskMeasure], _ local: [String], to target: Fleet.Host, _ notes: inout [String]
    ) async -> Int64 {
        let shared = server.description.disks.map(\.name).filter { !local.contains($0) }
        let needs = BaseNeeds(of: server.description, except: shared)
        guard !needs.needs.isEmpty else { return 0 }
        var missing = needs
        do {
            let agent = agents.agent(of: target)
            missing = try await within(Self.quick) { try await agent.missingBases(needs) }
        } catch {
            notes.append(
                "\(target.name) does not say which base images it has (\((error as? AgentProblem)?.reason.message ?? "\(error)")); none is counted on."
            )
        }
        var bytes: Int64 = 0
        for need in missing.needs {
            guard let measure = there.first(where: { $0.name == need.base.name && $0.storage == need.storage }) else {
                notes.append(
                    "The source has no base image \(need.base.name) on storage \(need.storage) any more: the migration would fail.")
                continue
            }
            bytes += measure.allocatedBytes
            notes.append(
                "\(target.name) lacks base image \(need.base.name) on storage \(need.storage): its \(measure.allocatedBytes >> 20) MiB are brought along."
            )
        }
        return bytes
    }

    /// How fast the way between the hosts is, for memory or for a disk's data; nil, with a note, when that could not be rehearsed.
    private func rate(
        _ server: Server, disk: DiskMeasure?, _ options: MigrationOptions, _ source: Fleet.Host, _ target: Fleet.Host,
        _ notes: inout [String]
    ) async -> Int64? {
        let id = UUID().uuidString.lowercased()
        let (giver, taker) = (agents.agent(of: source), agents.agent(of: target))
        do {
            let place = try await within(Self.quick) { try await taker.awaitRehearsal(RehearsalOrder(id: id, storage: disk?.storage)) }
            let order = RehearseOrder(id: id, place: place, disk: disk?.name)
            let report = try await within(.seconds(25)) { try await giver.rehearse(server.id, order) }
            // The rehearsal's stream is plain.
            if let rate = report.rate { return options.enableTLS ? Int64(Double(rate) * Self.tlsShare) : rate }
        } catch {
            log.info("a rehearsal failed", metadata: ["source": "\(source.name)", "target": "\(target.name)", "error": "\(error)"])
            notes.append(
                "The way from \(source.name) to \(target.name) could not be measured (\((error as? AgentProblem)?.reason.message ?? "\(error)")); \(Self.unknownRate / 1_000_000) MB/s are counted on."
            )
        }
        return nil
    }
}

extension CandidateView {
    fileprivate init(_ load: HostLoad, _ views: Views) {
        self.init(
            host: views.named(load.host.id), vcpusLeft: max(0, load.host.vcpusCapacity - load.vcpusTaken),
            memoryLeftMB: max(0, load.host.memoryCapacityBytes - load.memoryTakenBytes) >> 20, inboundMigrations: load.inboundMigrations,
            outboundMigrations: load.outboundMigrations, recentFailures: load.recentFailures)
    }
}
