import ArgumentParser
import Fleet
import Foundation
import LocalFleet

struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a whole fleet on this machine: a controller, a worker and hosts.",
        discussion: """
            All are real processes on loopback, with certificates of their own authority and an SQLite store in the state folder. What ends \
            is started again. Ctrl-C ends all, guests too; started once more it goes on where it was.
            """)

    @Option(help: "How many hosts (3, or as many as the last time).")
    var hosts: Int?

    @Option(help: "How many workers.")
    var workers = 1

    @Option(help: ArgumentHelp("The state folder.", valueName: "folder"))
    var state: String?

    @Flag(help: "Leave guests running at the end; the next `godwit dev` on the same state finds them again.")
    var keepGuests = false

    @Option(
        help: ArgumentHelp(
            "\(Choices.list(Accelerator.self)): what hosts run guests with. auto tries KVM once on each host.", valueName: "accelerator"),
        transform: { try Choices.parse($0, as: Accelerator.self, field: "accelerator") })
    var accelerator: Accelerator = .auto

    func validate() throws {
        if let hosts, !(1...64).contains(hosts) { throw ValidationError("--hosts must be from 1 to 64.") }
        guard (1...16).contains(workers) else { throw ValidationError("--workers must be from 1 to 16.") }
    }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let given = state ?? DevLayout.defaultState(environment)
        try DevFiles.makeFolder(given)
        // One folder under two spellings is one fleet.
        let path = URL(fileURLWithPath: given).resolvingSymlinksInPath().path
        let settings = try DevSettings.load("\(path)/dev.json")
        let layout = DevLayout(
            state: path, runDirectory: settings?.runDirectory ?? DevLayout.runDirectory(of: path, environment))
        try await DevFleet(
            layout: layout, hosts: hosts ?? settings?.hosts ?? 3, workers: workers, accelerator: accelerator, keepGuests: keepGuests
        ).run()
    }
}
