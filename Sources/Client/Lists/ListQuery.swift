/// Which of the things that there are a list shows, in climc's words.
package struct ListQuery: Hashable, Sendable {
    package enum Order: String, Hashable, Sendable, CaseIterable {
        case asc, desc
    }

    /// At most so many; all when nil.
    package var limit: Int?
    /// So many are passed over first.
    package var offset: Int?
    /// Names of fields; the first that differs decides. The list's own order when empty.
    package var orderBy: [String]
    /// Ascending when nil, but for the list's own order, which stays as it is.
    package var order: Order?
    /// All must hold, or one of them with ``filterAny``; see ``FieldFilter``.
    package var filters: [String]
    package var filterAny: Bool
    /// Part of a name or an id.
    package var search: String?

    package init(
        limit: Int? = nil, offset: Int? = nil, orderBy: [String] = [], order: Order? = nil, filters: [String] = [],
        filterAny: Bool = false, search: String? = nil
    ) {
        self.limit = limit
        self.offset = offset
        self.orderBy = orderBy
        self.order = order
        self.filters = filters
        self.filterAny = filterAny
        self.search = search
    }

    /// The largest page.
    package static let most = 1000
}

/// A ``ListQuery`` made ready for one kind of thing.
package struct ListSelection<Item: Listed>: Sendable {
    private let query: ListQuery
    private let orderBy: [Field<Item>]
    private let filters: [FieldFilter<Item>]

    /// - Throws: ``ListError`` for a field that the thing does not have, or a filter that cannot be read.
    package init(_ query: ListQuery) throws(ListError) {
        self.query = query
        var orderBy: [Field<Item>] = []
        // An order without a field turns the list's own one.
        let names = query.orderBy.isEmpty && query.order != nil ? [Item.ordinaryOrder] : query.orderBy
        for name in names { orderBy.append(try Item.field(name, in: "order_by")) }
        self.orderBy = orderBy
        var filters: [FieldFilter<Item>] = []
        for text in query.filters { filters.append(try FieldFilter(text)) }
        self.filters = filters
    }

    /// Whether the filters let it pass.
    package func admits(_ item: Item) -> Bool {
        if filters.isEmpty { return true }
        return query.filterAny ? filters.contains { $0.matches(item) } : filters.allSatisfy { $0.matches(item) }
    }

    /// One page of what passes, and how much passes in all.
    package func page(of items: [Item]) -> Page<Item> where Item: Codable {
        var passed = items.filter(admits)
        if !orderBy.isEmpty {
            let descends = query.order == .desc
            // Equal ones keep the order in which they came.
            passed = passed.enumerated().sorted { left, right in
                for field in orderBy {
                    let (one, other) = (field.value(left.element), field.value(right.element))
                    if FieldValue.isBefore(one, other) { return !descends }
                    if FieldValue.isBefore(other, one) { return descends }
                }
                return left.offset < right.offset
            }.map(\.element)
        }
        let rest = passed.dropFirst(query.offset ?? 0)
        return Page(items: Array(rest.prefix(query.limit ?? rest.count)), total: passed.count)
    }
}
