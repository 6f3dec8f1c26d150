import Crypto
import Foundation
import SwiftASN1
import X509

/// The authority that vouches for every process of one fleet: P-256 keys, X.509 v3 (RFC 5280).
///
/// Agents, workers and controllers trust its certificate and nothing else, so that whoever shows one of another authority is nobody.
package struct CertificateAuthority: Sendable {
    /// The names of the two files in an authority's folder.
    package static let certificateFile = "ca.pem"
    package static let keyFile = "ca-key.pem"

    private let certificate: Certificate
    private let key: P256.Signing.PrivateKey
    /// What every process of the fleet is given to trust.
    package let certificatePEM: String

    /// Certificates count from a little before they are made, for hosts whose clocks lag.
    private static let backdate: TimeInterval = 300

    /// Makes a new authority.
    ///
    /// - Throws: ``IdentityError`` with `invalidRequest`.
    package init(name: String, validFor: Duration) throws {
        let key = P256.Signing.PrivateKey()
        let subject = try Self.distinguishedName(name)
        let (start, end) = try Self.validity(validFor)
        let publicKey = Certificate.PublicKey(key.publicKey)
        self.certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: start, notValidAfter: end, issuer: subject,
            subject: subject, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                SubjectKeyIdentifier(hash: publicKey)
            }, issuerPrivateKey: .init(key))
        self.key = key
        self.certificatePEM = try certificate.serializeAsPEM().pemString + "\n"
    }

    /// Reads an authority from the folder that ``save(to:)`` kept it in.
    ///
    /// - Throws: ``IdentityError`` with `unreadable` or `mismatch`.
    package init(directory: String) throws {
        let certificatePath = "\(directory)/\(Self.certificateFile)"
        let keyPath = "\(directory)/\(Self.keyFile)"
        let pem = try DurableFile.read(certificatePath)
        let keyPEM = try DurableFile.read(keyPath)
        do {
            self.certificate = try Certificate(pemEncoded: pem)
        } catch {
            throw IdentityError(.unreadable, "\(certificatePath) is no PEM certificate: \(error).")
        }
        do {
            self.key = try P256.Signing.PrivateKey(pemRepresentation: keyPEM)
        } catch {
            throw IdentityError(.unreadable, "\(keyPath) is no PEM key of the curve P-256: \(error).")
        }
        guard Certificate.PublicKey(key.publicKey) == certificate.publicKey else {
            throw IdentityError(.mismatch, "\(keyPath) is not the key of \(certificatePath).")
        }
        self.certificatePEM = pem
    }

    /// Keeps the authority in a folder, which is made (mode 0700) if it is not there.
    ///
    /// - Throws: ``IdentityError`` with `unwritable`, or with `exists` where an authority's key is kept already: overwriting it would
    ///   cut off every process that trusts it.
    package func save(to directory: String) throws(IdentityError) {
        do {
            try FileManager.default.createDirectory(
                atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw IdentityError(.unwritable, "Cannot make the folder \(directory): \(error.localizedDescription)")
        }
        let keyPath = "\(directory)/\(Self.keyFile)"
        guard access(keyPath, F_OK) != 0 else {
            throw IdentityError(.exists, "\(directory) holds an authority already; choose another folder, or move it away first.")
        }
        // The key last: a folder with a key is a whole authority.
        try DurableFile.write(certificatePEM, to: "\(directory)/\(Self.certificateFile)", mode: 0o644)
        try DurableFile.write(key.pemRepresentation + "\n", to: keyPath, mode: 0o600)
    }

    /// Issues a certificate that its holder can show as a server and as a client.
    ///
    /// - Parameters:
    ///   - commonName: `role/name`: `agent/host1`, `worker/w1`, `controller/c1`.
    ///   - dnsNames: host names by which it will be called.
    ///   - ipAddresses: IPv4 and IPv6 addresses by which it will be called.
    /// - Throws: ``IdentityError`` with `invalidRequest`.
    package func issue(
        commonName: String, dnsNames: [String] = [], ipAddresses: [String] = [], validFor: Duration
    ) throws -> IssuedCertificate {
        let (start, end) = try Self.validity(validFor)
        var names: [GeneralName] = try dnsNames.map { name in
            guard !name.isEmpty, name.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw IdentityError(.invalidRequest, "“\(name)” is no DNS name.")
            }
            return .dnsName(name)
        }
        names += try ipAddresses.map { .ipAddress(ASN1OctetString(contentBytes: try Self.octets(ofAddress: $0)[...])) }
        let leaf = P256.Signing.PrivateKey()
        let publicKey = Certificate.PublicKey(leaf.publicKey)
        var extensions = try Certificate.Extensions {
            Critical(BasicConstraints.notCertificateAuthority)
            Critical(KeyUsage(digitalSignature: true))
            try ExtendedKeyUsage([.serverAuth, .clientAuth])
            SubjectKeyIdentifier(hash: publicKey)
            AuthorityKeyIdentifier(keyIdentifier: SubjectKeyIdentifier(hash: certificate.publicKey).keyIdentifier)
        }
        if !names.isEmpty {
            try extensions.append(Certificate.Extension(SubjectAlternativeNames(names), critical: false))
        }
        let issued = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: publicKey, notValidBefore: start,
            notValidAfter: min(end, certificate.notValidAfter), issuer: certificate.subject,
            subject: try Self.distinguishedName(commonName), signatureAlgorithm: .ecdsaWithSHA256, extensions: extensions,
            issuerPrivateKey: .init(key))
        return IssuedCertificate(
            certificatePEM: try issued.serializeAsPEM().pemString + "\n", keyPEM: leaf.pemRepresentation + "\n")
    }

    private static func distinguishedName(_ commonName: String) throws -> DistinguishedName {
        // 64 is the upper bound of a common name (RFC 5280, appendix A.1).
        guard (1...64).contains(commonName.count) else {
            throw IdentityError(.invalidRequest, "“\(commonName)” cannot be a certificate's name: it must have 1 to 64 characters.")
        }
        return try DistinguishedName { CommonName(commonName) }
    }

    private static func validity(_ span: Duration) throws -> (start: Date, end: Date) {
        guard span > .zero else { throw IdentityError(.invalidRequest, "A certificate must be valid for more than no time.") }
        let now = Date()
        return (now - backdate, now + Double(span.components.seconds))
    }

    /// Four or sixteen octets in network order.
    private static func octets(ofAddress text: String) throws -> [UInt8] {
        for (family, length) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: length)
            if inet_pton(family, text, &bytes) == 1 { return bytes }
        }
        throw IdentityError(.invalidRequest, "“\(text)” is neither an IPv4 nor an IPv6 address.")
    }
}
