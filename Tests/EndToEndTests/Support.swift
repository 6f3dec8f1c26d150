import Foundation
import Subprocess
import Testing

#if canImport(System)
    import System
#else
    import SystemPackage
#endif

/// A test cannot go on.
struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Processes of this machine, by /proc.
struct Processes: CustomStringConvertible {
    let pid: Int32
    let arguments: [String]

    var description: String { "\(pid) \(arguments.prefix(3).joined(separator: " "))" }

    /// All but this one with the text in their command line.
    static func mentioning(_ text: String) throws -> [Processes] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").compactMap { entry in
            guard let pid = Int32(entry), pid != getpid(),
                // A process may end between the listing and the look.
                let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
            else { return nil }
            let arguments = data.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            return arguments.contains { $0.contains(text) } ? Processes(pid: pid, arguments: arguments) : nil
        }
    }
}

/// Lets a bounded time pass between two looks at a condition.
func pause(_ duration: Duration) async throws {
    try await Task.sleep(for: duration)
}

/// Returns as soon as the condition holds; fails the test when it does not in time.
func eventually(_ what: String, within limit: Duration, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while true {
        if try await condition() { return }
        guard ContinuousClock.now < deadline else { throw Failure("not within \(limit): \(what)") }
        try await pause(.milliseconds(50))
    }
}

/// Runs an operation with a deadline.
func within<T: Sendable>(_ limit: Duration, _ what: String, _ operation: @escaping @Sendable () async throws -> T) async throws -> T {
    try await withThrowingTaskGroup(of: T.self) { group in
        group.addTask(operation: operation)
        group.addTask {
            try await Task.sleep(for: limit)
            throw Failure("not within \(limit): \(what)")
        }
        defer { group.cancelAll() }
        guard let first = try await group.next() else { throw Failure(what) }
        return first
    }
}

/// What a program said, and how it ended.
struct Answer: Sendable {
    var status: Int32
    var output: String
    var error: String
}

/// Runs a program, found by path or name, to its end.
func execute(_ command: [String], environment: [String: String] = [:], deadline: Duration = .seconds(60)) async throws -> Answer {
    let line = command.joined(separator: " ")
    return try await within(deadline, line) {
        let program = command[0]
        let result = try await Subprocess.run(
            program.hasPrefix("/") ? .path(FilePath(program)) : .name(program), arguments: Arguments(Array(command.dropFirst())),
            environment: .inherit.updating(
                Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })),
            input: .none, output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
        guard case .exited(let code) = result.terminationStatus else { throw Failure("\(line) was ended by a signal") }
        return Answer(status: code, output: result.standardOutput, error: result.standardError)
    }
}

/// Runs a program that must succeed and returns what it said.
@discardableResult
func succeed(_ command: String..., environment: [String: String] = [:], deadline: Duration = .seconds(60)) async throws -> String {
    let answer = try await execute(command, environment: environment, deadline: deadline)
    guard answer.status == 0 else {
        throw Failure("\(command.joined(separator: " ")) exited with \(answer.status): \(answer.output)\(answer.error)")
    }
    return answer.output
}
