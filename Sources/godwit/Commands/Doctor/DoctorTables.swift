import Client
import Output

enum DoctorTables {
    static func findings(_ diagnosis: DiagnosisView) -> String {
        Table(
            ["Severity", "Kind", "Server", "Host", "What", "Remedy", "Fix"],
            rows: diagnosis.findings.map { finding in
                [
                    finding.severity, finding.kind, finding.server.map { $0.name.isEmpty ? $0.id : $0.name }, finding.host?.name,
                    finding.message.wrapped(60), finding.remedy.wrapped(40),
                    finding.outcome.map { "\(finding.isFixed ? "done: " : "")\($0)".wrapped(30) } ?? (finding.isFixable ? "--fix" : nil),
                ]
            }
        ).text
    }

    static func footer(_ diagnosis: DiagnosisView) -> String {
        let fixed = diagnosis.findings.count(where: \.isFixed)
        let left = diagnosis.findings.count - fixed
        return "\(diagnosis.hosts) hosts and \(diagnosis.servers) servers: "
            + (diagnosis.findings.isEmpty ? "nothing is wrong" : "\(left) findings" + (fixed > 0 ? ", \(fixed) mended" : "")) + "\n"
    }
}
