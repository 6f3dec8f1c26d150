import Foundation

/// Where a fleet of `godwit dev` keeps everything: one folder that outlives it, and one for sockets whose paths must be short.
package struct DevLayout: Hashable, Sendable {
    /// Absolute.
    let state: String
    /// Absolute, and short: a socket's path has at most 107 bytes (unix(7)), of which agents need some 70 for a guest's.
    let runDirectory: String

    package init(state: String, runDirectory: String) {
        self.state = state
        self.runDirectory = runDirectory
    }

    /// `$XDG_STATE_HOME/godwit/dev`, or `~/.local/state/godwit/dev` (XDG Base Directory Specification).
    package static func defaultState(_ environment: [String: String]) -> String {
        if let home = environment["XDG_STATE_HOME"], home.hasPrefix("/") { return "\(home)/godwit/dev" }
        return "\(environment["HOME"] ?? NSHomeDirectory())/.local/state/godwit/dev"
    }

    /// The folder for sockets that belongs to a state folder: always the same for the same one, another for another.
    package static func runDirectory(of state: String, _ environment: [String: String]) -> String {
        let name = "godwit-\(digest(state))"
        if let base = environment["XDG_RUNTIME_DIR"], base.hasPrefix("/"), base.utf8.count <= 20 { return "\(base)/\(name)" }
        return "/tmp/\(name)"
    }

    /// FNV-1a, folded to 32 bits, as eight hexadecimal digits: short, and the same in every run.
    private static func digest(_ text: String) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(UInt32(truncatingIfNeeded: hash ^ (hash >> 32)), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    var lock: String { "\(state)/lock" }
    var settings: String { "\(state)/dev.json" }
    /// The processes last started, so that the next run can end what a crash left.
    var processes: String { "\(state)/processes.json" }
    var token: String { "\(state)/token" }
    var store: String { "\(state)/godwit.sqlite" }
    /// Shell lines that point the command line at this fleet.
    var environment: String { "\(state)/env" }
    var authority: String { "\(state)/ca" }
    var certificates: String { "\(state)/tls" }
    var logs: String { "\(state)/log" }
    var hosts: String { "\(state)/hosts" }
    /// The storage that all hosts have in common.
    var shared: String { "\(state)/shared" }

    func log(of process: String) -> String { "\(logs)/\(process).log" }

    func host(_ number: Int) -> HostFolder {
        HostFolder(name: "host\(number)", folder: "\(hosts)/host\(number)", runDirectory: "\(runDirectory)/h\(number)")
    }

    /// What one host has.
    struct HostFolder: Hashable, Sendable {
        let name: String
        let folder: String
        let runDirectory: String

        var configuration: String { "\(folder)/agent.yaml" }
        var stateDirectory: String { "\(folder)/agent" }
        var storage: String { "\(folder)/storage" }
    }
}
