package import AgentAPI
package import Fleet
import Foundation

/// What the operator tells an agent, as read from its YAML file. Keys that it does not know are refused, so that a misspelt one cannot
/// pass in silence.
package struct AgentConfiguration: Hashable, Sendable, Codable {
    /// The host's name; the certificate's is `agent/` and this.
    package var name: String
    package var listen: Listen
    /// Address on which this host takes the streams of disks and memory as a target; where it listens when nil.
    package var migrationAddress: String?
    /// Descriptions, epochs, records, logs: what must survive.
    package var stateDirectory: String
    /// Sockets; short, since the path of a unix socket has at most 107 bytes.
    package var runDirectory: String
    package var storages: [StoragePath]
    package var networks: [NetworkAttachment]
    package var tls: TLSFiles
    package var qemu: String
    package var qemuImg: String
    package var swtpm: String
    /// Folder of OVMF's images, for servers with UEFI.
    package var firmwareDirectory: String
    package var accelerator: Accelerator
    /// Device that `godwit-guard` feeds, such as `/dev/watchdog`; none when nil.
    package var watchdog: String?

    package struct Listen: Hashable, Sendable, Codable {
        package var address: String
        /// 0 takes one from the kernel.
        package var port: Int

        package init(address: String, port: Int) {
            self.address = address
            self.port = port
        }
    }

    /// A folder that holds disks.
    package struct StoragePath: Hashable, Sendable, Codable {
        package var name: String
        package var path: String
        /// `shared`: every host that lists the name sees the same folder, such as an NFS mount. The agent never makes that folder.
        package var kind: Storage.Kind

        package init(name: String, path: String, kind: Storage.Kind = .local) {
            self.name = name
            self.path = path
            self.kind = kind
        }

        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            self.init(
                name: try values.decode(String.self, forKey: .name), path: try values.decode(String.self, forKey: .path),
                kind: try values.decodeIfPresent(Storage.Kind.self, forKey: .kind) ?? .local)
        }
    }

    package struct NetworkAttachment: Hashable, Sendable, Codable {
        package var name: String
        package var kind: Network.Kind
        /// The bridge's interface, for that kind.
        package var bridge: String?

        package init(name: String, kind: Network.Kind, bridge: String? = nil) {
            self.name = name
            self.kind = kind
            self.bridge = bridge
        }
    }

    package struct TLSFiles: Hashable, Sendable, Codable {
        package var authority: String
        package var certificate: String
        package var key: String

        package init(authority: String, certificate: String, key: String) {
            self.authority = authority
            self.certificate = certificate
            self.key = key
        }

        package var mutualTLS: MutualTLS { MutualTLS(authorityPath: authority, certificatePath: certificate, keyPath: key) }
    }

    package init(
        name: String, listen: Listen, migrationAddress: String? = nil, stateDirectory: String, runDirectory: String,
        storages: [StoragePath], networks: [NetworkAttachment] = [], tls: TLSFiles, qemu: String = "qemu-system-x86_64",
        qemuImg: String = "qemu-img", swtpm: String = "swtpm", firmwareDirectory: String = "/usr/share/OVMF",
        accelerator: Accelerator = .auto, watchdog: String? = nil
    ) {
        self.name = name
        self.listen = listen
        self.migrationAddress = migrationAddress
        self.stateDirectory = stateDirectory
        self.runDirectory = runDirectory
        self.storages = storages
        self.networks = networks
        self.tls = tls
        self.qemu = qemu
        self.qemuImg = qemuImg
        self.swtpm = swtpm
        self.firmwareDirectory = firmwareDirectory
        self.accelerator = accelerator
        self.watchdog = watchdog
    }

    private enum CodingKeys: String, CodingKey {
        case name, listen, migrationAddress, stateDirectory, runDirectory, storages, networks, tls, qemu, qemuImg, swtpm,
            firmwareDirectory, accelerator, watchdog
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            name: try values.decode(String.self, forKey: .name),
            listen: try values.decode(Listen.self, forKey: .listen),
            migrationAddress: try values.decodeIfPresent(String.self, forKey: .migrationAddress),
            stateDirectory: try values.decode(String.self, forKey: .stateDirectory),
            runDirectory: try values.decode(String.self, forKey: .runDirectory),
            storages: try values.decode([StoragePath].self, forKey: .storages),
            networks: try values.decodeIfPresent([NetworkAttachment].self, forKey: .networks) ?? [],
            tls: try values.decode(TLSFiles.self, forKey: .tls),
            qemu: try values.decodeIfPresent(String.self, forKey: .qemu) ?? "qemu-system-x86_64",
            qemuImg: try values.decodeIfPresent(String.self, forKey: .qemuImg) ?? "qemu-img",
            swtpm: try values.decodeIfPresent(String.self, forKey: .swtpm) ?? "swtpm",
            firmwareDirectory: try values.decodeIfPresent(String.self, forKey: .firmwareDirectory) ?? "/usr/share/OVMF",
            accelerator: try values.decodeIfPresent(Accelerator.self, forKey: .accelerator) ?? .auto,
            watchdog: try values.decodeIfPresent(String.self, forKey: .watchdog))
        try refuseUnknownKeys(in: decoder)
    }

    /// The longest folder name under which every socket's path still fits.
    private static let longestRunDirectory = 107 - 1 - HostPaths.longestSocketName

    /// - Throws: ``AgentProblem`` of kind `invalid` with what is wrong and how to mend it.
    package func validate() throws {
        func refuse(_ message: String) -> AgentProblem { AgentProblem(.invalid, .invalidRequest, message) }
        if name.isEmpty { throw refuse("the agent's `name` is empty: give the host's name") }
        if !(0...65535).contains(listen.port) { throw refuse("`listen.port` \(listen.port) is no port: give 0 to 65535") }
        for (key, path) in [("stateDirectory", stateDirectory), ("runDirectory", runDirectory)]
            + storages.map({ ("storages: \($0.name)", $0.path) })
        where !path.hasPrefix("/") {
            throw refuse("`\(key)` is \"\(path)\": give an absolute path")
        }
        if runDirectory.utf8.count > Self.longestRunDirectory {
            throw refuse(
                "`runDirectory` \(runDirectory) has \(runDirectory.utf8.count) bytes, and the path of a unix socket must stay under 108: give a folder of at most \(Self.longestRunDirectory) bytes"
            )
        }
        for names in [storages.map(\.name), networks.map(\.name)] where Set(names).count != names.count {
            throw refuse("a name stands twice among \(names.joined(separator: ", ")): give each its own")
        }
        for network in networks where network.kind == .bridge && (network.bridge ?? "").isEmpty {
            throw refuse("network \(network.name) is of kind bridge: give the interface as `bridge`")
        }
    }
}

extension AgentConfiguration.Listen {
    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(
                    codingPath: decoder.codingPath,
                    debugDescription: "\"\(text)\" is no address with a port: write 127.0.0.1:7070 or [::1]:7070"))
        }
        self.init(address: text[..<colon].trimmingCharacters(in: CharacterSet(charactersIn: "[]")), port: port)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(authority)
    }

    /// As it stands in a URL: `127.0.0.1:7070`, `[::1]:7070`.
    package var authority: String { address.contains(":") ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// The names in a document and what stands under them, whatever it is.
private enum KeyTree: Decodable {
    case leaf
    case list([KeyTree])
    case names([String: KeyTree])

    init(from decoder: any Decoder) throws {
        if let names = try? [String: KeyTree](from: decoder) {
            self = .names(names)
        } else if let list = try? [KeyTree](from: decoder) {
            self = .list(list)
        } else {
            self = .leaf
        }
    }

    /// Names that stand here and not there.
    func surplus(over known: KeyTree, at place: String = "") -> [String] {
        switch (self, known) {
        case (.names(let here), .names(let there)):
            here.sorted { $0.key < $1.key }.flatMap { name, tree in
                there[name].map { tree.surplus(over: $0, at: "\(place)\(name).") } ?? ["\(place)\(name)"]
            }
        case (.list(let here), .list(let there)):
            zip(here, there).enumerated().flatMap { index, pair in pair.0.surplus(over: pair.1, at: "\(place)\(index + 1).") }
        default: []
        }
    }
}

extension AgentConfiguration {
    /// What a decoder leaves unread, it leaves unsaid: the document's names are held against those that the configuration itself has.
    fileprivate func refuseUnknownKeys(in decoder: any Decoder) throws {
        let known = try JSONDecoder().decode(KeyTree.self, from: JSONEncoder().encode(self))
        let surplus = try KeyTree(from: decoder).surplus(over: known)
        guard surplus.isEmpty else {
            throw DecodingError.dataCorrupted(
                DecodingError.Context(codingPath: [], debugDescription: "unknown: \(surplus.joined(separator: ", "))"))
        }
    }
}
