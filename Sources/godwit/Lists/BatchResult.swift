import Client
import Output

/// What became of one of several things that a command was given.
struct BatchResult<Item: Codable & Sendable>: Encodable, Sendable {
    /// As the user named it.
    let id: String
    let outcome: Outcome

    enum Outcome: Sendable {
        case success(Item)
        /// The HTTP status of the refusal, 0 where there was no answer, and its sentence.
        case failure(status: Int, error: String)
    }

    private enum CodingKeys: String, CodingKey {
        case id, status, data, error
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(id, forKey: .id)
        switch outcome {
        case .success(let item):
            try container.encode(200, forKey: .status)
            try container.encode(item, forKey: .data)
        case .failure(let status, let error):
            try container.encode(status, forKey: .status)
            try container.encode(error, forKey: .error)
        }
    }

    /// Does it for all of them side by side; a failure of one is no failure of another.
    static func all(_ ids: [String], _ body: @escaping @Sendable (String) async throws -> Item) async throws -> [BatchResult] {
        try await withThrowingTaskGroup(of: (Int, BatchResult).self) { group in
            for (index, id) in ids.enumerated() {
                group.addTask {
                    do {
                        return (index, BatchResult(id: id, outcome: .success(try await body(id))))
                    } catch let error as ClientError {
                        return (index, BatchResult(id: id, outcome: .failure(status: error.problem?.status ?? 0, error: error.message)))
                    } catch let error as CommandFailure {
                        return (index, BatchResult(id: id, outcome: .failure(status: 0, error: error.message)))
                    }
                }
            }
            var results: [(Int, BatchResult)] = []
            for try await result in group { results.append(result) }
            return results.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    /// A table of what was done with its footer, then one of what was not, as climc prints its batch actions; each only where there is any.
    static func tables(_ results: [BatchResult], _ table: ([Item]) -> String) -> String {
        var (done, failed): ([Item], [[String?]]) = ([], [])
        for result in results {
            switch result.outcome {
            case .success(let item): done.append(item)
            case .failure(let status, let error): failed.append([status > 0 ? String(status) : "-", result.id, error.wrapped(80)])
            }
        }
        var text = ""
        if !done.isEmpty { text += table(done) + Table.footer(total: done.count, shown: done.count) + "\n" }
        if !failed.isEmpty {
            text += Table(["status", "id", "error"], rows: failed).text + Table.footer(total: failed.count, shown: failed.count) + "\n"
        }
        return text
    }

    /// - Throws: ``CommandFailure`` that names those that failed.
    static func requireSuccess(_ results: [BatchResult]) throws(CommandFailure) {
        let failed = results.compactMap { result in
            if case .failure = result.outcome { result.id } else { nil as String? }
        }
        if !failed.isEmpty {
            throw CommandFailure.failed("\(failed.count) of \(results.count) failed: \(failed.joined(separator: ", ")).")
        }
    }
}
