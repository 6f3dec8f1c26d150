import AgentAPI
package import Fleet

/// Where everything of a host lies.
package struct HostPaths: Sendable {
    package let state: String
    package let run: String
    private let storages: [String: String]

    /// Bytes of the longest name of a socket in the run folder.
    package static let longestSocketName = 16 + ".rescue".utf8.count

    package init(_ configuration: AgentConfiguration) {
        self.state = configuration.stateDirectory
        self.run = configuration.runDirectory
        self.storages = Dictionary(configuration.storages.map { ($0.name, $0.path) }) { first, _ in first }
    }

    package var guests: String { state + "/guests" }
    package var lock: String { state + "/lock" }
    package var address: String { state + "/address" }
    package var probe: String { state + "/probe.json" }

    /// The path of a storage.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    package func storage(_ name: String) throws -> String {
        guard let path = storages[name] else {
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
    fileprivate let storages: [String: String]
    package let server: ServerID

    fileprivate init(folder: String, sockets: String, storages: [String: String], server: ServerID) {
        self.folder = folder
        self.sockets = sockets
        self.storages = storages
        self.server = server
    }

    package var record: String { folder + "/guest.json" }
    package var console: String { folder + "/console.log" }
    package var log: String { folder + "/qemu.log" }
    package var pid: String { folder + "/qemu.pid" }
    package var nvram: String { folder + "/nvram.fd" }
    /// QEMU's monitor.
    package var monitor: String { sockets + ".qmp" }
    /// The control channel of its TPM.
    package var tpmSocket: String { sockets + ".tpm" }
    package var tpmPID: String { folder + "/tpm.pid" }
    package var tpmLog: String { folder + "/tpm.log" }
    /// A second monitor for `yank` while the first hangs.
    package var rescue: String { sockets + ".rescue" }

    /// The folder of the server's disks on a storage.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    package func diskFolder(on storage: String) throws -> String {
        guard let path = storages[storage] else {
            throw AgentProblem(
                .invalid, .invalidRequest,
                "this host has no storage \(storage): it has \(storages.keys.sorted().joined(separator: ", "))")
        }
        return "\(path)/\(server)"
    }

    /// What the server's TPM keeps: beside its first disk, so that it lies where the disk does.
    package func tpm(of guest: GuestDescription) throws -> String {
        guard let first = guest.disks.first else { return folder + "/tpm" }
        return try diskFolder(on: first.storage) + "/tpm"
    }

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
