import AgentAPI
import AgentSettings
import ArgumentParser
import Dispatch
import Fleet
import Foundation
import Glibc
import Guarding
import Hypervisor
import Synchronization

/// The dead man's switch of a host.
@main
struct GodwitGuard: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "godwit-guard", abstract: "Ends a host's guests when no controller has renewed the host's lease.",
        discussion: """
            One per host, apart from godwit-agent and with the same configuration. It acts only while auto-migrate-on-host-down is enabled for \
            the host, and only on guests whose disks are all shared. Told to end (SIGTERM), it stays until the controllers, which the agent \
            tells, count on it no more, at most until the lease is over; then it ends those guests first.
            """)

    @Option(help: "The agent's configuration, a YAML file.")
    var config: String

    func run() async throws {
        do {
            let configuration = try AgentConfiguration(file: config)
            try configuration.validate()
            let files = GuardFiles(HostPaths(configuration))
            for folder in [configuration.stateDirectory, configuration.runDirectory] { try DurableFile.makeFolder(folder) }
            let lock = try await ProcessLock.take(files.lock, holder: "another guard")
            defer { withExtendedLifetime(lock) {} }
            try Self.guardHost(files, watchdog: configuration.watchdog, name: configuration.name)
        } catch let problem as AgentProblem {
            FileHandle.standardError.write(Data("godwit-guard: \(problem.reason.message)\n".utf8))
            throw ExitCode(problem.kind == .invalid ? 2 : 1)
        }
    }

    private static let isTold = Atomic(false)

    private static func guardHost(_ files: GuardFiles, watchdog path: String?, name: String) throws {
        let queue = DispatchQueue(label: "godwit.guard.signals")
        let sources = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { isTold.store(true, ordering: .relaxed) }
            source.resume()
            return source
        }
        defer { for source in sources { source.cancel() } }
        let denied = insist()
        let watchdog = try path.map { try Watchdog($0) }
        let log: (String) -> Void = { line in
            FileHandle.standardError.write(Data("\(Date().formatted(.iso8601)) godwit.guard: \(line)\n".utf8))
        }
        if !denied.isEmpty { log("a host that is short of memory or processors may hold the guard up: \(denied.joined(separator: "; "))") }
        let guardian = try Guardian(files, watchdog: watchdog, isLeaving: { isTold.load(ordering: .relaxed) }, log: log)
        print("ready \(name)")
        fflush(nil)
        try guardian.run()
    }

    /// Has the kernel prefer it to everything else: memory that is not written out, a processor before others, and never the victim of a lack of
    /// memory. Where that is not allowed it does without.
    /// - Returns: what is not allowed.
    private static func insist() -> [String] {
        var denied: [String] = []
        if mlockall(Int32(MCL_CURRENT | MCL_FUTURE)) != 0 { denied.append("its memory is not locked (\(systemMessage(errno)))") }
        var priority = sched_param()
        priority.sched_priority = 1
        if sched_setscheduler(0, SCHED_RR, &priority) != 0 { denied.append("it has no real-time priority (\(systemMessage(errno)))") }
        do {
            try Data("-1000".utf8).write(to: URL(fileURLWithPath: "/proc/self/oom_score_adj"))
        } catch {
            denied.append("it may be killed for want of memory (\(error.localizedDescription))")
        }
        return denied
    }
}
