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
        insist()
        let watchdog = try path.map { try Watchdog($0) }
        let guardian = try Guardian(
            files, watchdog: watchdog, isLeaving: { isTold.load(ordering: .relaxed) },
            log: { line in
                FileHandle.standardError.write(Data("\(Date().formatted(.iso8601)) godwit.guard: \(line)\n".utf8))
            })
        print("ready \(name)")
        fflush(nil)
        try guardian.run()
    }

    /// Has the kernel prefer it to everything else: memory that is not written out, a processor before others, and never the victim of a lack of
    /// memory. Where that is not allowed it does without.
    private static func insist() {
        mlockall(Int32(MCL_CURRENT | MCL_FUTURE))
        var priority = sched_param()
        priority.sched_priority = 1
        sched_setscheduler(0, SCHED_RR, &priority)
        try? Data("-1000".utf8).write(to: URL(fileURLWithPath: "/proc/self/oom_score_adj"))
    }
}
