/// The first filter that a host does not pass, with words for a person where they were asked for.
struct Refusal {
    let filter: PlacementFilter
    /// Empty, as is the other, of an ``Examination`` that does not explain.
    let wanted: String
    let found: String
}
