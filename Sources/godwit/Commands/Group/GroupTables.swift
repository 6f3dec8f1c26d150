import Client
import Fleet
import Output

/// Server groups as tables.
enum GroupTables {
    static func list(_ groups: [GroupView]) -> String {
        Table(
            ["ID", "Name", "Policy", "Kept", "Servers"],
            rows: groups.map { group in
                [group.id, group.name, group.policy.rawValue, group.isKept ? "yes" : "no", members(group)]
            }
        ).text
    }

    static func one(_ group: GroupView) -> String {
        Table(fields: [
            "id": group.id,
            "name": group.name,
            "policy": group.policy.rawValue,
            "kept": group.isKept ? "yes" : "no: migrate servers of it until it is",
            "servers": members(group),
            "created_at": group.createdAt.description,
        ]).text
    }

    private static func members(_ group: GroupView) -> String {
        group.members.map { "\($0.server.name)  on \($0.host.name)" }.joined(separator: "\n")
    }
}
