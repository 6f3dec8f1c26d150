/// One page of a list.
package struct Page<Item: Codable & Sendable>: Sendable, Codable {
    package var items: [Item]
    /// How many there are on all pages, where that is cheap to know.
    package var total: Int?
    /// What to give as `before` for the next page; nil on the last.
    package var next: String?

    package init(items: [Item], total: Int? = nil, next: String? = nil) {
        self.items = items
        self.total = total
        self.next = next
    }
}

extension Page: Equatable where Item: Equatable {}

/// A thing named in another's view.
package struct Named: Hashable, Sendable, Codable {
    package var id: String
    /// Empty when the thing is gone and only its id is known.
    package var name: String

    package init(id: String, name: String) {
        self.id = id
        self.name = name
    }
}
