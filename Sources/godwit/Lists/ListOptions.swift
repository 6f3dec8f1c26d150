import ArgumentParser
import Client
import Fleet
import Output

/// What every list takes, in climc's words.
struct ListOptions: ParsableArguments {
    @Option(help: "At most so many a page, 1 to \(ListQuery.most).")
    var limit = 20

    @Option(help: "Pass over so many first.")
    var offset = 0

    @Option(
        name: .customLong("order-by"), help: ArgumentHelp("Order by this field; can be given several times.", valueName: "field"))
    var orderBy: [String] = []

    @Option(help: "asc or desc; without --order-by it turns the list's own order. asc when left out.")
    var order: ListQuery.Order?

    @Option(
        name: .customLong("field"), help: ArgumentHelp("Show this field; can be given several times, or with commas.", valueName: "field"))
    var fields: [String] = []

    @Option(
        name: .customLong("filter"),
        help: ArgumentHelp(
            """
            Only what meets this: status.equals(running), name.contains(vm), host.in(host1,host2), vcpu_count.gt(2), note.isnull(); also \
            status=running. Can be given several times: all must hold.
            """, valueName: "filter"))
    var filters: [String] = []

    @Flag(help: "With several --filter: one that holds is enough.")
    var filterAny = false

    @Option(help: ArgumentHelp("Only those with this in their name or id.", valueName: "text"))
    var search: String?

    @Flag(help: "More columns.")
    var details = false

    @Option(help: "system, domain, project, user or max, as in climc. There is one project yet, so all show the same.")
    var scope: Scope?

    /// Whose things are shown, in climc's words.
    enum Scope: String, CaseIterable, ExpressibleByArgument {
        case system, domain, project, user, max
    }

    func validate() throws {
        guard (1...ListQuery.most).contains(limit) else { throw ValidationError("--limit must be from 1 to \(ListQuery.most).") }
        guard offset >= 0 else { throw ValidationError("--offset must be at least 0.") }
        if filterAny && filters.isEmpty { throw ValidationError("--filter-any has a meaning only with --filter.") }
    }

    var query: ListQuery {
        ListQuery(
            limit: limit, offset: offset == 0 ? nil : offset, orderBy: orderBy.flatMap(Self.words), order: order, filters: filters,
            filterAny: filterAny, search: search)
    }

    /// Told before anybody is asked: fields that this thing does not have, filters that cannot be read.
    ///
    /// - Returns: the fields that are to be shown; empty for the usual ones.
    func chosen<Item: Listed>(of _: Item.Type) throws(CommandFailure) -> [Field<Item>] {
        do {
            _ = try ListSelection<Item>(query)
            var chosen: [Field<Item>] = []
            for name in fields.flatMap(Self.words) { chosen.append(try Item.field(name, in: "field")) }
            return chosen
        } catch {
            throw CommandFailure.usage("--\(error.parameter.replacing("_", with: "-")): \(error.message)")
        }
    }

    private static func words(_ text: String) -> [String] {
        text.split(separator: ",").map(String.init)
    }
}

extension ListQuery.Order: ExpressibleByArgument {}
