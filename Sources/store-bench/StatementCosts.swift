import Foundation
import SQL

/// What statements took, by their text.
struct StatementCosts {
    private var costs: [String: (count: Int, seconds: Double)] = [:]

    mutating func measure(_ statement: SQLStatement, _ body: () throws -> Void) rethrows {
        let begun = ContinuousClock.now
        try body()
        let seconds = (ContinuousClock.now - begun).seconds
        let text = statement.parts.map { if case .text(let text) = $0 { text } else { "?" } }.joined()
        costs[text, default: (0, 0)].count += 1
        costs[text, default: (0, 0)].seconds += seconds
    }

    /// The costliest first, on standard error.
    func print(lives: Int) {
        for (text, cost) in costs.sorted(by: { $0.value.seconds > $1.value.seconds }) {
            let line = text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            let figures = String(
                format: "%8.1f us a life, %5.2f times a life: ", cost.seconds / Double(lives) * 1e6, Double(cost.count) / Double(lives))
            FileHandle.standardError.write(Data("\(figures)\(line)\n".utf8))
        }
    }
}
