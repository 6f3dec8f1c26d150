import Crypto
import Foundation
import Identity
import NIOCore
import NIOSSL
import Subprocess
import SwiftASN1
import Testing
import X509

@Suite struct CertificateAuthorityTests {
    private let authority: CertificateAuthority

    init() throws {
        authority = try CertificateAuthority(name: "Godwit test", validFor: .seconds(3600))
    }

    private func verify(_ leaf: IssuedCertificate, against authority: CertificateAuthority) async throws -> Bool {
        var verifier = Verifier(rootCertificates: CertificateStore([try Certificate(pemEncoded: authority.certificatePEM)])) {
            RFC5280Policy()
        }
        let result = await verifier.validate(leaf: try Certificate(pemEncoded: leaf.certificatePEM), intermediates: CertificateStore([]))
        if case .validCertificate = result { return true }
        return false
    }

    private func openssl(_ arguments: [String]) async throws -> (ok: Bool, output: String) {
        let result = try await run(
            .name("openssl"), arguments: .init(arguments), output: .string(limit: 100_000), error: .combinedWithOutput)
        return (result.terminationStatus.isSuccess, result.standardOutput)
    }

    @Test func `a certificate it issued is proven by it and not by another authority`() async throws {
        let issued = try authority.issue(commonName: "agent/host1", ipAddresses: ["127.0.0.1"], validFor: .seconds(600))
        let other = try CertificateAuthority(name: "Godwit test", validFor: .seconds(3600))
        #expect(try await verify(issued, against: authority))
        #expect(try await !verify(issued, against: other))
    }

    @Test func `openssl proves the chain for servers and for clients, and refuses a foreign one`() async throws {
        try await withFolder { folder in
            let issued = try authority.issue(commonName: "worker/w1", dnsNames: ["localhost"], validFor: .seconds(600))
            let other = try CertificateAuthority(name: "Godwit test", validFor: .seconds(3600))
            try authority.save(to: "\(folder)/ca")
            try other.save(to: "\(folder)/other")
            try issued.write(certificatePath: "\(folder)/w1.pem", keyPath: "\(folder)/w1-key.pem")
            for purpose in ["sslserver", "sslclient"] {
                let good = try await openssl([
                    "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "\(folder)/ca/ca.pem", "\(folder)/w1.pem",
                ])
                #expect(good.ok, "\(good.output)")
            }
            let foreign = try await openssl(["verify", "-CAfile", "\(folder)/other/ca.pem", "\(folder)/w1.pem"])
            #expect(!foreign.ok, "\(foreign.output)")
        }
    }

    @Test func `a certificate carries its name, its addresses and both usages`() throws {
        let issued = try authority.issue(
            commonName: "agent/host1", dnsNames: ["host1.example"], ipAddresses: ["10.1.2.3", "::1"], validFor: .seconds(600))
        let certificate = try Certificate(pemEncoded: issued.certificatePEM)
        #expect("\(certificate.subject)" == "CN=agent/host1")
        let names = try #require(try certificate.extensions.subjectAlternativeNames)
        let loopback6 = [UInt8](repeating: 0, count: 15) + [1]
        #expect(
            Array(names) == [
                .dnsName("host1.example"), .ipAddress(ASN1OctetString(contentBytes: [10, 1, 2, 3])),
                .ipAddress(ASN1OctetString(contentBytes: loopback6[...])),
            ])
        let usages = try #require(try certificate.extensions.extendedKeyUsage)
        #expect(Set(usages) == [.serverAuth, .clientAuth])
        #expect(try certificate.extensions.basicConstraints == .notCertificateAuthority)
    }

    @Test func `no certificate outlives its authority`() throws {
        let issued = try authority.issue(commonName: "agent/host1", validFor: .seconds(1_000_000))
        let own = try Certificate(pemEncoded: authority.certificatePEM)
        #expect(try Certificate(pemEncoded: issued.certificatePEM).notValidAfter == own.notValidAfter)
    }

    @Test func `an authority comes back from its folder, its key for its owner only`() async throws {
        try await withFolder { folder in
            try authority.save(to: "\(folder)/ca")
            let mode = try FileManager.default.attributesOfItem(atPath: "\(folder)/ca/ca-key.pem")[.posixPermissions] as? Int
            #expect(mode == 0o600)
            #expect(try FileManager.default.contentsOfDirectory(atPath: "\(folder)/ca").sorted() == ["ca-key.pem", "ca.pem"])
            let again = try CertificateAuthority(directory: "\(folder)/ca")
            let issued = try again.issue(commonName: "agent/host2", validFor: .seconds(600))
            #expect(try await verify(issued, against: authority))
        }
    }

    @Test func `an authority is never overwritten`() async throws {
        try await withFolder { folder in
            try authority.save(to: folder)
            let error = #expect(throws: IdentityError.self) { try CertificateAuthority(name: "b", validFor: .seconds(60)).save(to: folder) }
            #expect(error?.code == .exists)
            #expect(try CertificateAuthority(directory: folder).certificatePEM == authority.certificatePEM)
        }
    }

    @Test func `a key of another authority is told from its own`() async throws {
        try await withFolder { folder in
            try authority.save(to: folder)
            try P256.Signing.PrivateKey().pemRepresentation.write(toFile: "\(folder)/ca-key.pem", atomically: true, encoding: .utf8)
            let error = #expect(throws: IdentityError.self) { try CertificateAuthority(directory: folder) }
            #expect(error?.code == .mismatch)
        }
    }

    @Test func `a folder without an authority is told by its path`() throws {
        let error = #expect(throws: IdentityError.self) { try CertificateAuthority(directory: "/nowhere/at/all") }
        #expect(error?.code == .unreadable)
        #expect(error?.message.contains("/nowhere/at/all/ca.pem") == true)
    }

    @Test(arguments: ["10.1.2", "host1", "1.2.3.4.5", ""]) func `what is no address is refused`(address: String) {
        let error = #expect(throws: IdentityError.self) {
            try authority.issue(commonName: "agent/host1", ipAddresses: [address], validFor: .seconds(60))
        }
        #expect(error?.code == .invalidRequest)
    }

    @Test func `a name that no certificate can carry is refused`() {
        for name in ["", String(repeating: "x", count: 65)] {
            #expect(throws: IdentityError.self) { try authority.issue(commonName: name, validFor: .seconds(60)) }
        }
    }

    @Test func `the TLS library reads certificate and key and finds them a pair`() throws {
        let issued = try authority.issue(commonName: "agent/host1", ipAddresses: ["127.0.0.1"], validFor: .seconds(600))
        let certificates = try NIOSSLCertificate.fromPEMBytes(Array(issued.certificatePEM.utf8))
        let key = try NIOSSLPrivateKey(bytes: Array(issued.keyPEM.utf8), format: .pem)
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(Array(authority.certificatePEM.utf8)))
        _ = try NIOSSLContext(configuration: configuration)
    }
}

/// A folder of its own that is gone afterwards, whatever happens in between.
private func withFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("identity-\(UUID().uuidString.prefix(8))").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer {
        do {
            try FileManager.default.removeItem(atPath: folder)
        } catch {
            Issue.record(error)
        }
    }
    try await body(folder)
}
