import ArgumentParser
import Identity
import Output

struct CAIssue: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca-issue", abstract: "Issue a certificate for one process of a fleet.",
        discussion: """
            For --name agent/host1 the folder gets agent-host1.pem and agent-host1-key.pem. Give every address by which the process will \
            be called: agents and controllers are refused by callers that use another one.
            """)

    @Argument(help: "The authority's folder.")
    var directory: String

    @Option(help: "Who it is for: agent/HOST, worker/NAME or controller/NAME.")
    var name: String

    @Option(name: .customLong("address"), help: ArgumentHelp("An IP address it is called by; can be given several times.", valueName: "ip"))
    var addresses: [String] = []

    @Option(name: .customLong("dns"), help: ArgumentHelp("A host name it is called by; can be given several times.", valueName: "name"))
    var names: [String] = []

    @Option(help: ArgumentHelp("How long it is valid (365d).", valueName: "time"), transform: { try Validity.parse($0) })
    var validFor: Duration = .seconds(365 * 86_400)

    @Option(help: ArgumentHelp("Folder for the two files; the authority's own when left out.", valueName: "folder"))
    var into: String?

    func validate() throws {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, ["agent", "worker", "controller"].contains(parts[0]), !parts[1].isEmpty else {
            throw ValidationError("--name “\(name)” must be agent/HOST, worker/NAME or controller/NAME.")
        }
    }

    func run() throws {
        let authority = try CertificateAuthority(directory: directory)
        let issued = try authority.issue(commonName: name, dnsNames: names, ipAddresses: addresses, validFor: validFor)
        let stem = "\(into ?? directory)/\(name.replacing("/", with: "-"))"
        try issued.write(certificatePath: "\(stem).pem", keyPath: "\(stem)-key.pem")
        Terminal.output.write("\(stem).pem\n\(stem)-key.pem\n")
    }
}
