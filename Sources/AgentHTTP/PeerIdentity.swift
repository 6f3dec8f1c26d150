import AgentAPI
import Fleet
import NIOSSL
import SwiftASN1
import X509

/// Who is at the other end of a connection, by the certificate that it has proven to hold.
struct PeerIdentity: Hashable, Sendable {
    enum Role: String, Sendable {
        case worker
        case controller
        case agent
    }

    let role: Role
    let name: String

    /// - Parameter commonName: `role/name`.
    init?(commonName: String) {
        let parts = commonName.split(separator: "/", maxSplits: 1)
        guard parts.count == 2, let role = Role(rawValue: String(parts[0])) else { return nil }
        self.role = role
        self.name = String(parts[1])
    }

    /// Nil when the certificate names no role of Godwit's.
    init?(_ certificate: NIOSSLCertificate) throws {
        let subject = try Certificate(derEncoded: certificate.toDERBytes()).subject
        for part in subject {
            for attribute in part where attribute.type == .RDNAttributeType.commonName {
                guard let name = String(attribute.value) else { return nil }
                self.init(commonName: name)
                return
            }
        }
        return nil
    }

    /// Workers and controllers give orders; an agent may look, and hand its guests over.
    func requireOrders() throws {
        guard role == .agent else { return }
        throw AgentProblem(.forbidden, .invalidRequest, "agent/\(name) may not give this order: only workers and controllers may")
    }
}
