import Foundation
import NIOSSL
import Subprocess

/// A certificate for 127.0.0.1 and the authority it is of, as PEM files.
struct TLSFiles: Sendable {
    let authority: String
    let certificate: String
    let key: String

    /// Has openssl make them in a folder.
    static func make(in folder: String, named name: String = "api") async throws -> TLSFiles {
        let base = "\(folder)/\(name)"
        try await openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=\(name)-ca",
            "-keyout", "\(base)-ca.key", "-out", "\(base)-ca.pem")
        try await openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=controller",
            "-CA", "\(base)-ca.pem", "-CAkey", "\(base)-ca.key", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
            "basicConstraints=critical,CA:FALSE", "-keyout", "\(base).key", "-out", "\(base).pem")
        return TLSFiles(authority: "\(base)-ca.pem", certificate: "\(base).pem", key: "\(base).key")
    }

    func server() throws -> TLSConfiguration {
        .makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMFile(certificate).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(file: key, format: .pem)))
    }

    private static func openssl(_ arguments: String...) async throws {
        let result = try await run(.name("openssl"), arguments: Arguments(arguments), output: .discarded, error: .string(limit: 65536))
        guard result.terminationStatus.isSuccess else { throw TimedOut(description: "openssl: \(result.standardError)") }
    }
}
