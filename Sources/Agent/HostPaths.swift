import AgentAPI
import Fleet

/// Where everything of a host lies.
struct HostPaths: Sendable {
    let state: String
    let run: String
    private let storages: [String: String]

    /// Bytes of the longest name of a socket in the run folder.
    static let longestSocketName = 16 + ".rescue".utf8.count

    init(_ configuration: AgentConfiguration) {
        self.state = configuration.stateDirectory
        self.run = configuration.runDirectory
        self.storages = Dictionary(configuration.storages.map { ($0.name, $0.path) }) { first, _ in first }
    }

    var guests: String { state + "/guests" }
    var lock: String { state + "/lock" }
    var address: String { state + "/address" }
    var probe: String { state + "/probe.json" }

    func of(_ server: ServerID) -> GuestPaths {
        GuestPaths(folder: "\(guests)/\(server)", sockets: "\(run)/\(fingerprint(server.value))", storages: storages, server: server)
    }
}

/// Where everything of one guest lies.
struct GuestPaths: Hashable, Sendable {
    let folder: String
    fileprivate let sockets: String
    fileprivate let storages: [String: String]
    let server: ServerID

    fileprivate init(folder: String, sockets: String, storages: [String: String], server: ServerID) {
        self.folder = folder
        self.sockets = sockets
        self.storages = storages
        self.server = server
    }

    var record: String { folder + "/guest.json" }
    var console: String { folder + "/console.log" }
    var log: String { folder + "/qemu.log" }
    var pid: String { folder + "/qemu.pid" }
    var nvram: String { folder + "/nvram.fd" }
    /// QEMU's monitor.
    var monitor: String { sockets + ".qmp" }
    /// A second monitor for `yank` while the first hangs.
    var rescue: String { sockets + ".rescue" }

    /// The folder of the server's disks on a storage.
    /// - Throws: ``AgentProblem`` when the host has no such storage.
    func diskFolder(on storage: String) throws -> String {
        guard let path = storages[storage] else {
            throw AgentProblem(
                .invalid, .invalidRequest,
                "this host has no storage \(storage): it has \(storages.keys.sorted().joined(separator: ", "))")
        }
        return "\(path)/\(server)"
    }

    func disk(_ disk: GuestDescription.Disk) throws -> String {
        "\(try diskFolder(on: disk.storage))/\(disk.name).\(disk.format.rawValue)"
    }
}

/// A short name that stands for a long one: FNV-1a, 64 bits, in hexadecimal.
func fingerprint(_ text: String) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
