import AgentAPI
package import Fleet
import Foundation

/// Where everything of a host lies.
package struct HostPaths: Sendable {
    package let state: String
    package let run: String
    private let storages: [String: AgentConfiguration.StoragePath]

    /// Bytes of the longest name of a socket in the run folder.
    package static let longestSocketName = 16 + ".rescue".utf8.count

    package init(_ configuration: AgentConfiguration) {
        self.state = configuration.stateDirectory
        self.run = configuration.runDirectory
        self.storages = Dictionary(configuration.storages.map { ($0.name, $0) }) { first, _ in first }
    }

    package var guests: String { state + "/guests" }
    package var lock: String { state + "/lock" }
    package var address: String { state + "/address" }
    package var probe: String { state + "/probe.json" }
    /// The agent's certificate under the names that QEMU wants.
    package var credentials: String { state + "/tls" }
    /// What failed attempts left: a folder each.
    package var kept: String { state + "/kept" }

    /// The path of a storage.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    package func storage(_ name: String) throws -> String {
        guard let path = storages[name]?.path else {
            throw AgentProblem(
                .invalid, .invalidRequest, "this host has no storage \(name): it has \(storages.keys.sorted().joined(separator: ", "))")
        }
        return path
    }

    package func of(_ server: ServerID) -> GuestPaths {
        GuestPaths(folder: "\(guests)/\(server)", sockets: "\(run)/\(fingerprint(server.value))", storages: storages, server: server)
    }
}

/// Where everything of one guest lies.
package struct GuestPaths: Hashable, Sendable {
    package let folder: String
    fileprivate let sockets: String
    fileprivate let storages: [String: AgentConfiguration.StoragePath]
    package let server: ServerID

    fileprivate init(folder: String, sockets: String, storages: [String: AgentConfiguration.StoragePath], server: ServerID) {
        self.folder = folder
        self.sockets = sockets
        self.storages = storages
        self.server = server
    }

    /// The daemon that lends the server's files.
    package var loanPID: String { folder + "/loan.pid" }
    package var loanLog: String { folder + "/loan.log" }

    /// The folder of a storage.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    package func storageFolder(_ storage: String) throws -> String {
        (try diskFolder(on: storage) as NSString).deletingLastPathComponent
    }

    package var record: String { folder + "/guest.json" }
    package var console: String { folder + "/console.log" }
    package var log: String { folder + "/qemu.log" }
    package var pid: String { folder + "/qemu.pid" }
    /// That the guest is ended with its host's lease, see `GuestMark`.
    package var mark: String { sockets + Self.markSuffix }
    package static let markSuffix = ".marked"
    /// That it was. Beside the mark, where no disk holds up who writes it.
    package var ended: String { sockets + ".ended" }
    /// Files of a guest that go with it, but for its disks and its record.
    package var remains: [String] { [console, log, pid, monitor, rescue, tpmSocket, tpmPID, tpmLog, mark, ended] }
    /// QEMU's monitor.
    package var monitor: String { sockets + ".qmp" }
    /// The control channel of its TPM.
    package var tpmSocket: String { sockets + ".tpm" }
    /// Of a guest that came live from another host: leads to the folder of its TPM's state.
    package var tpmLink: String { folder + "/tpm-link" }
    /// That folder while the guest is not this host's.
    package var tpmArrival: String { folder + "/tpm-arrival" }
    package var tpmPID: String { folder + "/tpm.pid" }
    package var tpmLog: String { folder + "/tpm.log" }
    /// A second monitor, for what must be done while the first hangs.
    package var rescue: String { sockets + ".rescue" }
    /// Where QEMU takes the stream of post-copy again while its main loop hangs.
    package var again: String { sockets + ".again" }

    /// A storage by its name; nil for one that this host does not have.
    package func known(_ storage: String) -> AgentConfiguration.StoragePath? { storages[storage] }
    /// Where disks of a failed attempt are kept on a storage. Beside the servers' folders, so that what a disk refers to by a relative path
    /// is found from there too.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    package func keptFolder(on storage: String, id: String) throws -> String {
        (try diskFolder(on: storage) as NSString).deletingLastPathComponent + "/.kept-\(id)"
    }

    /// The folder of the server's disks on a storage.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    package func diskFolder(on storage: String) throws -> String {
        guard let path = storages[storage]?.path else {
            throw AgentProblem(
                .invalid, .invalidRequest,
                "this host has no storage \(storage): it has \(storages.keys.sorted().joined(separator: ", "))")
        }
        return "\(path)/\(server)"
    }

    /// Whether other hosts see that storage too; false for one that this host does not have.
    package func isShared(_ storage: String) -> Bool { storages[storage]?.kind == .shared }

    /// Names of a guest's disks that every host sees.
    package func sharedDisks(of guest: GuestDescription) -> [String] { guest.disks.filter { isShared($0.storage) }.map(\.name) }

    /// The shared storages that a guest has disks on, by name, in the order of its disks.
    package func sharedStorages(of guest: GuestDescription) -> [String] {
        guest.disks.reduce(into: []) { names, disk in
            if isShared(disk.storage), !names.contains(disk.storage) { names.append(disk.storage) }
        }
    }

    /// Where a server keeps what is neither a disk nor this host's: beside its first disk, so that it is to be had wherever that is.
    /// - Throws: ``AgentProblem`` when the host does not have the first disk's storage.
    package func belongings(of guest: GuestDescription) throws -> String {
        try guest.disks.first.map { try diskFolder(on: $0.storage) } ?? folder
    }

    /// The file of the firmware's variables.
    /// - Throws: ``AgentProblem`` when the host does not have the first disk's storage.
    package func nvram(of guest: GuestDescription) throws -> String { try belongings(of: guest) + "/nvram.fd" }

    /// What the server's TPM keeps.
    /// - Throws: ``AgentProblem`` when the host does not have the first disk's storage.
    package func tpm(of guest: GuestDescription) throws -> String { try belongings(of: guest) + "/tpm" }

    package func disk(_ disk: GuestDescription.Disk) throws -> String {
        "\(try diskFolder(on: disk.storage))/\(disk.name).\(disk.format.rawValue)"
    }
}

/// A short name that stands for a long one: FNV-1a, 64 bits, in hexadecimal.
package func fingerprint(_ text: String) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
