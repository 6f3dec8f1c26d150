import Client
import Fleet
import Hummingbird
import Store

/// What every list takes.
extension Query {
    /// Takes the parameters of a ``ListQuery``.
    mutating func list() throws -> ListQuery {
        var list = ListQuery()
        list.limit = try integer("limit", in: 1...ListQuery.most)
        list.offset = try integer("offset", in: 0...Int(Int32.max))
        list.orderBy = (string("order_by") ?? "").split(separator: ",").map(String.init)
        list.order = try choices("order", ListQuery.Order.self).flatMap { orders in
            guard orders.count == 1 else { throw Problem.invalid("order", "The parameter order takes one word, asc or desc.") }
            return orders.first
        }
        list.filters = strings("filter")
        list.filterAny = try boolean("filter_any") ?? false
        list.search = string("search")
        return list
    }
}

extension ListQuery {
    /// Made ready for one kind of thing; what is wrong with it is told as a ``Problem``.
    func selection<Item: Listed>(of _: Item.Type) throws -> ListSelection<Item> {
        do {
            return try ListSelection(self)
        } catch {
            throw Problem.invalid(error.parameter, error.message.asSentence)
        }
    }
}

/// Migrations are too many to be sorted and counted at each question: pages of them follow the index of their ids, which is that of their
/// submit.
struct MigrationListing {
    let store: Store
    let filter: MigrationFilter
    let selection: ListSelection<MigrationView>
    let search: String?
    let limit: Int
    let offset: Int
    /// Whether something is asked that only the whole view of a migration answers.
    let isSifted: Bool

    /// As many as are counted for a total.
    static let counted = 10_000
    /// As many as one question looks at for what passes its filters; where more are left, the page says where to go on.
    static let looked = 20_000
    static let mostOffset = 10_000

    init(store: Store, filter: MigrationFilter, query: ListQuery) throws {
        self.store = store
        var filter = filter
        self.selection = try query.selection(of: MigrationView.self)
        for name in query.orderBy where !["id", "created_at", "finished_at"].contains(name.lowercased()) {
            throw Problem.invalid(
                "order_by",
                "Migrations are ordered by created_at or finished_at, for there may be very many; leave \(name) out, or narrow the list by filters."
            )
        }
        // What comes after it tells no two of them apart.
        filter.byEnd = query.orderBy.first?.lowercased() == "finished_at"
        filter.newestFirst = query.order.map { $0 == .desc } ?? query.orderBy.isEmpty
        self.filter = filter
        self.search = query.search?.lowercased()
        self.limit = query.limit ?? 20
        self.offset = query.offset ?? 0
        guard offset <= Self.mostOffset else {
            throw Problem.invalid(
                "offset", "offset is \(offset); of migrations at most \(Self.mostOffset) are passed over. Go on with before, as next says.")
        }
        self.isSifted = !query.filters.isEmpty || search != nil
    }

    func page() async throws -> Page<MigrationView> {
        let hosts = try await store.hosts()
        // One more than asked for tells whether there is a next page.
        let wanted = offset + limit + 1
        var found: [MigrationView] = []
        var last = filter.before
        var (looked, isAtEnd) = (0, false)
        while found.count < wanted, looked < Self.looked, !isAtEnd {
            var part = filter
            part.before = last
            part.limit = isSifted ? 1000 : wanted
            let rows = try await store.migrations(part)
            isAtEnd = rows.count < part.limit
            looked += rows.count
            let views = Views(hosts: hosts, names: try await store.serverNames(Set(rows.map(\.server))))
            for row in rows {
                last = row.id
                let view = views.migration(row)
                if admits(view) { found.append(view) }
                if found.count == wanted { break }
            }
        }
        let items = Array(found.dropFirst(offset).prefix(limit))
        let isCut = found.count == wanted
        let next = isCut ? items.last?.id : isAtEnd ? nil : last?.value
        return Page(items: items, total: try await total(found.count, isWhole: !isCut && isAtEnd), next: next)
    }

    private func admits(_ view: MigrationView) -> Bool {
        if let search, !view.id.hasPrefix(search), !view.server.id.contains(search), !view.server.name.lowercased().contains(search) {
            return false
        }
        return selection.admits(view)
    }

    /// How many pass on all pages, where that is cheap to know.
    private func total(_ found: Int, isWhole: Bool) async throws -> Int? {
        if isWhole, filter.before == nil { return found }
        guard !isSifted else { return nil }
        var all = filter
        all.before = nil
        all.limit = Self.counted + 1
        let count = try await store.countMigrations(all)
        return count > Self.counted ? nil : count
    }
}
