import Foundation
import Glibc
import Subprocess
import SystemPackage

/// One daemon of a `godwit dev`: started, and started again whenever it ends, until it is stopped.
actor DevProcess {
    /// What happens to it, as its owner is told.
    enum Event: Sendable {
        /// It runs, and where it listens, it says so.
        case running(ProcessTable.Identity, address: String?, previousEnd: String?)
        /// It did not come up; the last lines of its log. It is tried again unless it had never run.
        case failed(String, log: [String], everRan: Bool)
    }

    nonisolated let name: String
    private let program: String
    private let listens: Bool
    private let log: LogFile
    /// Makes what it needs for listening on a port (0: any) and answers its arguments.
    private let prepare: @Sendable (Int) throws -> [String]
    private let report: @Sendable (DevProcess, Event) async -> Void

    private var port: Int
    private var identity: ProcessTable.Identity?
    private var stopping = false
    private var everRan = false
    /// Whether the start under way, or the last one, got it running.
    private var cameUp = false
    private var previousEnd: String?
    private var pause: Task<Void, Never>?

    /// A daemon that takes longer has failed to start.
    private static let startDeadline = Duration.seconds(20)
    /// One that ran for so long starts again at once.
    private static let settled = Duration.seconds(10)
    private static let shortestPause = Duration.milliseconds(250)
    private static let longestPause = Duration.seconds(10)

    init(
        name: String, program: String, port: Int?, log: LogFile, prepare: @escaping @Sendable (Int) throws -> [String],
        report: @escaping @Sendable (DevProcess, Event) async -> Void
    ) {
        self.name = name
        self.program = program
        self.listens = port != nil
        self.port = port ?? 0
        self.log = log
        self.prepare = prepare
        self.report = report
    }

    /// Runs until ``stop(grace:)``, or until the first start has failed.
    func supervise() async {
        var wait = Self.shortestPause
        while !stopping && !Task.isCancelled {
            let begun = ContinuousClock.now
            let offset = log.size
            let end: String
            do {
                end = try await once(offset)
            } catch {
                end = "could not be started: \(error)"
            }
            identity = nil
            if stopping { return }
            previousEnd = end
            if !cameUp {
                await report(self, .failed(end, log: log.lastLines(10, from: offset), everRan: everRan))
                if !everRan { return }
            }
            if ContinuousClock.now - begun >= Self.settled { wait = Self.shortestPause }
            await rest(wait)
            wait = min(wait * 2, Self.longestPause)
        }
    }

    /// - Returns: how it ended, in words.
    private func once(_ offset: UInt64) async throws -> String {
        cameUp = false
        if listens && port != 0 && !LoopbackPort.isFree(port) {
            // Somebody took it meanwhile, or the kernel has not let go of it yet.
            await rest(.seconds(1))
            if !LoopbackPort.isFree(port) { port = 0 }
        }
        let arguments = try prepare(port)
        let output = try FileDescriptor.open(
            FilePath(log.path), .writeOnly, options: [.append, .create, .closeOnExec], permissions: [.ownerReadWrite])
        var options = PlatformOptions()
        // A Ctrl-C is for the supervisor alone, which ends its processes in order.
        options.processGroupID = 0
        // The kernel ends it with the supervisor, also with one that was killed.
        let result = try await Subprocess.run(
            .name("setpriv"), arguments: Arguments(["--pdeathsig", "KILL", program] + arguments), platformOptions: options, input: .none,
            output: .fileDescriptor(output, closeAfterSpawningProcess: true), error: .combinedWithOutput
        ) { execution in
            await self.started(execution.processIdentifier.value, offset)
        }
        switch result.terminationStatus {
        case .exited(let code): return "ended (exit code \(code))"
        case .signaled(let number): return "ended (signal \(number))"
        }
    }

    private func started(_ pid: Int32, _ offset: UInt64) async {
        guard let identity = ProcessTable.identity(pid) else { return }
        self.identity = identity
        if stopping {
            ProcessTable.signal(identity, SIGKILL)
            return
        }
        guard let sign = await sign(identity, offset) else {
            // Dead already, or never to be of use.
            ProcessTable.signal(identity, SIGKILL)
            return
        }
        if let address = sign.address { port = address.split(separator: ":").last.flatMap { Int($0) } ?? port }
        cameUp = true
        everRan = true
        await report(self, .running(identity, address: sign.address, previousEnd: previousEnd))
    }

    /// What it says when it is up: `listening ADDRESS`, or `ready NAME` where nobody calls it.
    private struct Sign {
        let address: String?
    }

    private func sign(_ identity: ProcessTable.Identity, _ offset: UInt64) async -> Sign? {
        let deadline = ContinuousClock.now + Self.startDeadline
        while ContinuousClock.now < deadline {
            let said = log.text(from: offset)
            if listens {
                if let address = LogFile.listeningAddress(in: said) { return Sign(address: address) }
            } else if LogFile.isReady(said) {
                return Sign(address: nil)
            }
            guard ProcessTable.identity(identity.pid) == identity, !stopping else { return nil }
            await rest(.milliseconds(20))
        }
        return nil
    }

    /// Has it ended for good: asked, then killed.
    func stop(grace: Duration) async {
        stopping = true
        pause?.cancel()
        guard let identity else { return }
        _ = await ProcessTable.end([identity], grace: grace)
    }

    /// Sleeps, unless it is stopped meanwhile.
    private func rest(_ duration: Duration) async {
        guard !stopping else { return }
        let sleep = Task<Void, Never> {
            // Cancelled means woken: the caller looks at `stopping` next.
            do { try await Task.sleep(for: duration) } catch { return }
        }
        pause = sleep
        await sleep.value
    }
}
