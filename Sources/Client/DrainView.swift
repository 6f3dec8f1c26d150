package import Fleet

/// What became of a host's servers when its maintenance began.
package struct DrainView: Hashable, Sendable, Codable {
    /// Those that leave; nil where none does.
    package var batch: BatchView?
    /// Those that cannot be migrated now, by their names, and why.
    package var staying: [BatchFlaw]

    package init(batch: BatchView?, staying: [BatchFlaw]) {
        self.batch = batch
        self.staying = staying
    }
}
