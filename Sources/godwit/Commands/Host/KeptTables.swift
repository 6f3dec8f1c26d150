import Client
import Output

extension HostTables {
    static func kept(_ kept: [KeptView]) -> String {
        Table(
            ["ID", "Host", "Server", "Migration", "Attempt", "Kept_at", "Size", "Reason", "Folders"],
            rows: kept.map { kept in
                [
                    kept.id, kept.host.name, kept.server.name, kept.migration, String(kept.attempt), kept.keptAt.description,
                    Amounts.bytes(kept.bytes), "\(kept.reason)".wrapped(60), kept.folders.joined(separator: "\n"),
                ]
            }
        ).text
    }
}
