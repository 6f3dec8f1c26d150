import Fleet
import Foundation
import Glibc
import Identity
import Output

/// Makes what the processes of a `godwit dev` need on disk. Everything is kept that is there already, certificates excepted: they are
/// issued anew at each start and so never run out.
package struct DevFiles {
    let layout: DevLayout

    private static let certificateLife = Duration.seconds(3650 * 86_400)

    /// Certificate and key of one process.
    struct Credential {
        let certificate: String
        let key: String
    }

    /// Makes a folder for its owner only.
    package static func makeFolder(_ path: String) throws {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw CommandFailure.failed("Cannot make the folder \(path): \(error.localizedDescription)")
        }
    }

    /// Makes the folder for sockets. In /tmp anybody could have made one of that name before, to listen in.
    static func makeRunDirectory(_ path: String) throws {
        guard mkdir(path, 0o700) != 0 else { return }
        let why = errno
        var info = stat()
        guard why == EEXIST, lstat(path, &info) == 0 else {
            throw CommandFailure.failed("Cannot make the folder \(path): \(String(cString: strerror(why))).")
        }
        guard info.st_mode & S_IFMT == S_IFDIR, info.st_uid == geteuid(), info.st_mode & 0o077 == 0 else {
            throw CommandFailure.failed("\(path) is there and not this user's alone; remove it and try again.")
        }
    }

    func authority() throws -> CertificateAuthority {
        if FileManager.default.fileExists(atPath: "\(layout.authority)/\(CertificateAuthority.keyFile)") {
            return try CertificateAuthority(directory: layout.authority)
        }
        let authority = try CertificateAuthority(name: "godwit dev", validFor: Self.certificateLife)
        try authority.save(to: layout.authority)
        return authority
    }

    var authorityCertificate: String { "\(layout.authority)/\(CertificateAuthority.certificateFile)" }

    func issue(_ role: String, _ name: String, by authority: CertificateAuthority) throws -> Credential {
        let stem = "\(layout.certificates)/\(role)-\(name)"
        let credential = Credential(certificate: "\(stem).pem", key: "\(stem)-key.pem")
        try authority.issue(
            commonName: "\(role)/\(name)", dnsNames: ["localhost"], ipAddresses: ["127.0.0.1", "::1"], validFor: Self.certificateLife
        ).write(certificatePath: credential.certificate, keyPath: credential.key)
        return credential
    }

    /// The bearer token, given out once.
    func token() throws -> String {
        if FileManager.default.fileExists(atPath: layout.token) {
            return try DurableFile.read(layout.token).trimmingCharacters(in: .whitespacesAndNewlines)
        }
        var random = SystemRandomNumberGenerator()
        let token = (0..<4).map { _ in
            let digits = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
        try DurableFile.write(token + "\n", to: layout.token, mode: 0o600)
        return token
    }

    /// One host's configuration for its agent.
    func configureAgent(_ host: DevLayout.HostFolder, port: Int, accelerator: Accelerator, credential: Credential) throws {
        let text = Self.agentConfiguration(
            host, shared: layout.shared, port: port, accelerator: accelerator, authority: authorityCertificate, credential: credential)
        try DurableFile.write(text, to: host.configuration, mode: 0o600)
    }

    static func agentConfiguration(
        _ host: DevLayout.HostFolder, shared: String, port: Int, accelerator: Accelerator, authority: String, credential: Credential
    ) -> String {
        """
        # Written by godwit dev at each start.
        name: \(host.name)
        listen: 127.0.0.1:\(port)
        stateDirectory: \(quoted(host.stateDirectory))
        runDirectory: \(quoted(host.runDirectory))
        storages:
          - name: local
            path: \(quoted(host.storage))
          - name: shared
            kind: shared
            path: \(quoted(shared))
        networks:
          - name: default
            kind: user
        accelerator: \(accelerator.rawValue)
        tls:
          authority: \(quoted(authority))
          certificate: \(quoted(credential.certificate))
          key: \(quoted(credential.key))

        """
    }

    /// A double-quoted YAML scalar.
    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
    }

    /// The variables that point the command line at this fleet, as one line for a shell.
    static func exportLine(url: String, token: String, authority: String) -> String {
        "export GODWIT_URL=\(shellWord(url)) GODWIT_TOKEN=\(shellWord(token)) GODWIT_CACERT=\(shellWord(authority))"
    }

    /// Quoted where a shell would not take it as one plain word.
    static func shellWord(_ text: String) -> String {
        let plain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: ":"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return plain && !text.isEmpty ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }
}
