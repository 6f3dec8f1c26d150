import ArgumentParser
import Identity
import Output

struct CACreate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ca-create", abstract: "Make the certificate authority of a fleet in a folder.",
        discussion: """
            The folder gets ca.pem, which every process of the fleet is given to trust, and ca-key.pem, which stays secret: whoever has it \
            can be anybody.
            """)

    @Argument(help: "The folder; made if it is not there.")
    var directory: String

    @Option(help: "Name of the authority.")
    var name = "Godwit"

    @Option(
        help: ArgumentHelp("How long it is valid (3650d).", valueName: "time"), transform: { try Validity.parse($0) })
    var validFor: Duration = .seconds(3650 * 86_400)

    func run() throws {
        try CertificateAuthority(name: name, validFor: validFor).save(to: directory)
        Terminal.output.write("\(directory)/\(CertificateAuthority.certificateFile)\n\(directory)/\(CertificateAuthority.keyFile)\n")
    }
}

/// The value of `--valid-for`.
enum Validity {
    static func parse(_ text: String) throws(InputError) -> Duration {
        guard let span = TimeSpan.duration(text), span > .zero else { throw InputError("write a time like 365d or 12h.") }
        return span
    }
}
