import Client
import Fleet
import Output

/// A forecast as tables: where it could go, why not elsewhere, what it would take.
enum ForecastTables {
    static func text(_ forecast: ForecastView) -> String {
        var text = ""
        if forecast.candidates.isEmpty {
            text += "No host can take \(forecast.server.name).\n"
        } else {
            text += "Hosts that could take \(forecast.server.name), best first:\n" + candidates(forecast.candidates)
        }
        if !forecast.rejected.isEmpty { text += "Hosts that could not:\n" + rejected(forecast.rejected) }
        if let estimate = forecast.estimate {
            text += "A \(forecast.mode.rawValue) migration to \(estimate.targetHost.name) would take:\n" + one(estimate, forecast.mode)
        }
        return text + forecast.notes.map { "Note: \($0)\n" }.joined()
    }

    private static func candidates(_ candidates: [CandidateView]) -> String {
        Table(
            ["Host", "vcpus_left", "mem_left", "Inbound", "Outbound", "Failed_lately"],
            rows: candidates.map { candidate in
                [
                    candidate.host.name, String(candidate.vcpusLeft), String(candidate.memoryLeftMB), count(candidate.inboundMigrations),
                    count(candidate.outboundMigrations), count(candidate.recentFailures),
                ]
            }
        ).text
    }

    static func rejected(_ rejections: [RejectionView]) -> String {
        Table(
            ["Host", "Filter", "Wanted", "Found"],
            rows: rejections.map { [$0.host.name, $0.filter, $0.wanted.wrapped(60), $0.found.wrapped(60)] }
        ).text
    }

    private static func one(_ estimate: EstimateView, _ mode: Mode) -> String {
        let isLive = mode == .live
        return Table(fields: [
            "total": time(estimate.totalMS),
            "converges": isLive ? (estimate.converges ? "yes" : "no") : nil,
            "blackout": isLive && estimate.converges ? time(estimate.blackoutMS) : nil,
            "disk": estimate.diskBytes > 0
                ? "\(Amounts.bytes(estimate.diskBytes)) in \(time(estimate.diskMS)) at \(Amounts.rate(estimate.diskRateBytesPerSecond))"
                : nil,
            "memory": isLive
                ? "\(Amounts.bytes(estimate.memoryBytes)) in \(time(estimate.memoryMS)) at \(Amounts.rate(estimate.memoryRateBytesPerSecond))"
                : nil,
            "rounds": isLive ? String(estimate.rounds) : nil,
            "downtime_limit": isLive ? "\(estimate.downtimeLimitMS) ms" : nil,
            "throttle": estimate.throttlePercent > 0 ? "\(estimate.throttlePercent)%" : nil,
            "memory_used": estimate.memoryUsedBytes.map(Amounts.bytes),
            "dirty_rate": estimate.dirtyRateBytesPerSecond.map(Amounts.rate),
        ]).text
    }

    private static func count(_ number: Int) -> String? { number > 0 ? String(number) : nil }

    private static func time(_ milliseconds: Int64) -> String { Amounts.span(microseconds: milliseconds * 1000) }
}
