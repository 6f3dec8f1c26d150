package import Fleet
import Foundation
package import NIOSSL

/// The three files by which a Godwit process proves who it is: PEM, from Godwit's own CA.
///
/// A certificate's subject common name is `role/name`: `agent/host1`, `worker/w1`, `controller/c1`.
package struct MutualTLS: Sendable {
    package var authorityPath: String
    package var certificatePath: String
    package var keyPath: String

    package init(authorityPath: String, certificatePath: String, keyPath: String) {
        self.authorityPath = authorityPath
        self.certificatePath = certificatePath
        self.keyPath = keyPath
    }

    /// A server that talks only to peers with a certificate of the same CA.
    package func server() throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(certificatePath).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem)))
        configuration.trustRoots = .file(authorityPath)
        configuration.certificateVerification = .noHostnameVerification
        configuration.minimumTLSVersion = .tlsv13
        return configuration
    }

    /// A client that shows its certificate and checks the server's, host name included.
    package func client() throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.trustRoots = .file(authorityPath)
        configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificatePath).map { .certificate($0) }
        configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: keyPath, format: .pem))
        configuration.certificateVerification = .fullVerification
        configuration.minimumTLSVersion = .tlsv13
        return configuration
    }

    /// Until when the process's own certificate is good, and its authority's: of several in a file the one that ends first.
    package func ends() throws -> [CertificateEnd] {
        try [(CertificateEnd.Kind.own, certificatePath), (.authority, authorityPath)].compactMap { kind, path in
            try Self.end(of: path).map { CertificateEnd(kind: kind, path: path, end: $0) }
        }
    }

    /// Nil for a file without a certificate.
    package static func end(of path: String) throws -> Timestamp? {
        try NIOSSLCertificate.fromPEMFile(path).map { Timestamp(milliseconds: Int64($0.notValidAfter) * 1000) }.min()
    }
}
