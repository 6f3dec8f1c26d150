import Glibc

/// A certificate with its private key, as PEM.
package struct IssuedCertificate: Hashable, Sendable {
    package let certificatePEM: String
    /// SEC 1 or PKCS #8; whoever holds it is who the certificate names.
    package let keyPEM: String

    package init(certificatePEM: String, keyPEM: String) {
        self.certificatePEM = certificatePEM
        self.keyPEM = keyPEM
    }

    /// Keeps both as files, each whole or not at all, the key first and readable by its owner only.
    ///
    /// - Throws: ``IdentityError`` with `unwritable`.
    package func write(certificatePath: String, keyPath: String) throws(IdentityError) {
        try DurableFile.write(keyPEM, to: keyPath, mode: 0o600)
        try DurableFile.write(certificatePEM, to: certificatePath, mode: 0o644)
    }
}
