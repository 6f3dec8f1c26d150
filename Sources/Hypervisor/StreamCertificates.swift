import AgentAPI
import Fleet
import Foundation
import Glibc

/// The host's own certificate under the names that QEMU and libnbd look for in a folder.
package enum StreamCertificates {
    /// Has a folder with links to the agent's files: no key is copied, and none leaves the host.
    package static func folder(_ configuration: AgentConfiguration) throws -> String {
        let folder = configuration.stateDirectory + "/stream-certificates"
        try DurableFile.makeFolder(folder)
        let tls = configuration.tls
        for (name, path) in [
            ("ca-cert.pem", tls.authority), ("server-cert.pem", tls.certificate), ("server-key.pem", tls.key),
            ("client-cert.pem", tls.certificate), ("client-key.pem", tls.key),
        ] {
            let link = "\(folder)/\(name)"
            let wanted = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
            if (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) == wanted { continue }
            unlink(link)
            guard symlink(wanted, link) == 0 else {
                throw AgentProblem(.failed, .agentError, "\(link) cannot be made: \(systemMessage(errno))")
            }
        }
        return folder
    }
}
