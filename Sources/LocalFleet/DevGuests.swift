import Client
import Fleet
import Foundation

/// The QEMUs of a `godwit dev`: its daemons do not own them, so they are found by their command lines.
struct DevGuests {
    let layout: DevLayout

    /// Every QEMU that has a file of this fleet.
    func running() -> [ProcessTable.Identity] {
        ProcessTable.all { Self.belongs($0, to: layout) }
    }

    static func belongs(_ arguments: [String], to layout: DevLayout) -> Bool {
        guard let program = arguments.first?.split(separator: "/").last, program.hasPrefix("qemu-system-") else { return false }
        return arguments.dropFirst().contains { $0.contains("\(layout.runDirectory)/") || $0.contains("\(layout.hosts)/") }
    }

    /// Has every running server powered off by the controller, so that its books say so, as far as that goes in a few seconds.
    /// - Returns: what could not be stopped this way and why; it is to be ended by its pid.
    static func powerOff(_ client: GodwitClient) async throws -> [String] {
        let servers = try await client.servers(status: .running).items
        return await withTaskGroup(of: String?.self) { group in
            for server in servers {
                group.addTask {
                    do {
                        _ = try await client.stopServer(server.id, StopServerRequest(graceMS: 0))
                        return nil
                    } catch {
                        return "\(server.name): \(error)"
                    }
                }
            }
            return await group.reduce(into: []) { troubles, trouble in trouble.map { troubles.append($0) } }
        }
    }
}
