package import AgentAPI
import Attempts
package import Fleet
import Foundation
import Hypervisor
import Sharing
import Synchronization

extension HostAgent {
    private static let surveyPatience = Duration.seconds(8)

    /// Everything that stands here. No storage that hangs, and no monitor, holds up what can be told of the others.
    package func inventory() async throws -> Inventory {
        let all = guests.withLock { Array($0.values) }
        var inventory = Inventory(clock: .now, certificates: host.certificates)
        async let books = withTaskGroup(of: GuestBook.self) { group in
            for guest in all { group.addTask { await guest.book() } }
            return await group.reduce(into: [GuestBook]()) { $0.append($1) }
        }
        var kept: Set<String> = []
        do {
            kept = Set(try await KeptGuests(host.paths).list().flatMap(\.folders))
        } catch {
            inventory.troubles.append("what failed attempts left here cannot be listed: \(error)")
        }
        for (storage, entries) in await entries(kept: kept) {
            switch entries {
            case .success(let entries): inventory.entries += entries
            case .failure(let error): inventory.unseen[storage] = "\(error)"
            }
        }
        inventory.entries.sort { $0.path < $1.path }
        inventory.guests = await books.sorted { $0.server.value < $1.server.value }
        do {
            inventory.strays = try await strays(beside: inventory.guests)
        } catch {
            inventory.troubles.append("the processes of this host cannot be looked at: \(error)")
        }
        inventory.clock = .now
        return inventory
    }

    package func clear(_ server: ServerID, _ order: ClearOrder) async throws { try await known(server).clear(order) }

    private func entries(kept: Set<String>) async -> [String: Result<[StorageEntry], any Error>] {
        await withTaskGroup(of: (name: String, entries: Result<[StorageEntry], any Error>).self) { group in
            for storage in host.configuration.storages {
                group.addTask {
                    do {
                        return (
                            storage.name,
                            .success(
                                // In a queue of its own: a long look is to hold up no owner record.
                                try await self.host.owners.answer(of: "\(storage.name), all of it", within: Self.surveyPatience) {
                                    try StorageSurvey.entries(of: storage, kept: kept)
                                })
                        )
                    } catch {
                        return (storage.name, .failure(error))
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.name] = $1.entries }
        }
    }

    private func strays(beside books: [GuestBook]) async throws -> [StrayProcess] {
        let folder = host.paths.guests + "/"
        let suffix = "/" + (host.paths.of(ServerID("x")).pid as NSString).lastPathComponent
        let findings = try await offloaded { KernelProcess.all { $0.hasPrefix(folder) && $0.hasSuffix(suffix) } }
        if let trouble = findings.trouble { throw trouble }
        let known = Set(books.compactMap(\.pid))
        return findings.found.filter { !known.contains($0.process.pid) }.map { word, process in
            StrayProcess(pid: process.pid, server: ServerID(String(word.dropFirst(folder.count).dropLast(suffix.count))))
        }.sorted { $0.pid < $1.pid }
    }
}
