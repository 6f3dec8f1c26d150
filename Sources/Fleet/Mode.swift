/// How a server moves.
package enum Mode: String, Sendable, Codable, CaseIterable {
    /// The server is off: its disks are copied.
    case cold
    /// The server runs: disks and memory are kept in step, then it switches.
    case live
    /// The host is dead: only metadata moves, every disk being shared.
    case rescue
}
