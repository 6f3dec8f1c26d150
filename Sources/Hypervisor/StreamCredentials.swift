import AgentAPI
import Fleet
import Foundation
import Glibc
package import QMP

/// The agent's own certificate as QEMU and libnbd want it for the streams of a migration: a folder with names that they prescribe
/// (`tls-creds-x509`, property `dir`; nbd_set_tls_certificates(3)). They are links: a key stays where the operator has put it, and a renewed one is taken at once.
package struct StreamCredentials: Sendable {
    package let folder: String

    /// The QEMU object by which a target takes streams in.
    package static let incomingID = "godwit-tls-in"
    /// The QEMU object by which a source sends them.
    package static let outgoingID = "godwit-tls-out"
    /// The QEMU object that lets in the source of an attempt, and nobody else.
    package static let peerID = "godwit-peer"

    /// Makes the folder, readable for the agent alone.
    package init(folder: String, files: AgentConfiguration.TLSFiles) throws {
        self.folder = folder
        try DurableFile.makeFolder(folder)
        let links = [
            "ca-cert.pem": files.authority, "server-cert.pem": files.certificate, "server-key.pem": files.key,
            "client-cert.pem": files.certificate, "client-key.pem": files.key,
        ]
        for (name, file) in links {
            let path = "\(folder)/\(name)"
            unlink(path)
            guard symlink(URL(fileURLWithPath: file).path, path) == 0 else {
                throw AgentProblem(.failed, .agentError, "\(path) cannot be made: \(systemMessage(errno))")
            }
        }
    }

    /// For a target: takes only clients with a certificate of our authority.
    package var incoming: JSONValue { object(Self.incomingID, endpoint: "server") }

    /// For a source: takes only a server with a certificate of our authority.
    package var outgoing: JSONValue { object(Self.outgoingID, endpoint: "client") }

    /// Lets in the agent of that host alone.
    package static func peer(source: String) -> JSONValue {
        ["qom-type": "authz-simple", "id": .string(peerID), "identity": .string(identity(of: source))]
    }

    /// How QEMU calls the agent of a host, by its certificate.
    package static func identity(of host: String) -> String { "CN=agent/\(host)" }

    private func object(_ id: String, endpoint: String) -> JSONValue {
        [
            "qom-type": "tls-creds-x509", "id": .string(id), "endpoint": .string(endpoint), "dir": .string(folder), "verify-peer": true,
        ]
    }

    /// Whether QEMU's words tell of a peer that did not prove who it is, or that took us for nobody.
    package static func isRefusal(_ text: String) -> Bool {
        ["ertificate", "TLS handshake", "TLS negotiation", "TLS x509"].contains { text.contains($0) }
    }

    /// The same at the beginning of a stream, where a peer that refuses just hangs up.
    package static func isRefusalAtFirst(_ text: String) -> Bool { isRefusal(text) || text.contains("TLS channel") }

    /// What a person can do about it.
    package static func remedy(_ address: String) -> String {
        "both hosts' certificates must come from this fleet's authority, and the one of the host at \(address) must bear that address: issue it anew with `godwit ca-issue … agent/HOST --address \(address)`, or migrate without --enable-tls"
    }
}
