import Client
import Diagnosis
import Fleet
import Hummingbird
import Store

extension API {
    @Sendable func diagnose(_ request: Request, _ context: APIContext) async throws -> Response {
        try noQuery(request)
        let (findings, books) = try await doctor.examine()
        return try .json(view(findings.map { Doctor.Outcome(finding: $0) }, books))
    }

    @Sendable func fixDiagnosed(_ request: Request, _ context: APIContext) async throws -> Response {
        try await noFields(request)
        let (findings, books) = try await doctor.examine()
        return try .json(view(try await doctor.mend(findings, books, actor: context.actor, log: context.logger), books))
    }

    private func view(_ outcomes: [Doctor.Outcome], _ books: StoreBooks) -> DiagnosisView {
        let views = Views(
            hosts: books.hosts, names: Dictionary(books.servers.map { ($0.id, $0.name) }) { first, _ in first })
        return DiagnosisView(
            hosts: books.hosts.count, servers: books.servers.count,
            findings: outcomes.map { outcome in
                let finding = outcome.finding
                return FindingView(
                    severity: finding.severity.rawValue, kind: finding.kind.rawValue, server: finding.server.map(views.named),
                    host: finding.host.map(views.named), migration: finding.migration?.value, subject: finding.subject,
                    message: finding.message, remedy: finding.remedy, isFixable: finding.fix != nil, isFixed: outcome.isMended,
                    outcome: outcome.told)
            })
    }
}
