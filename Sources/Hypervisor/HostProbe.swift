import AgentAPI
import Failpoints
package import Fleet
import Foundation
import Glibc
package import Logging
package import QMP

/// What the host's QEMU can do. Found out once and kept until QEMU or the kernel changes.
package struct QEMUFacts: Hashable, Sendable, Codable {
    package struct Model: Hashable, Sendable, Codable {
        package var name: String
        /// The versioned model behind an unversioned name.
        package var aliasOf: String?
        package var runs: Bool
        package var migrates: Bool
    }

    package var version: String
    package var major: Int
    package var machineTypes: [String]
    package var machineAliases: [String: String]
    package var models: [Model]
    package var accelerator: Accelerator
    package var warnings: [String]
    /// Every CPU model's properties that are on in the one that has all that QEMU can offer here (`max`), and in the one that has nothing
    /// (`base`): QEMU's own answers.
    package var mostCPU: CPUModel
    package var leastCPU: CPUModel

    /// QEMU before 9.0 misses pages that a TCG guest dirties when a block of RAM is a multiple of 256 KiB: the migrated guest dies.
    package var losesDirtyPages: Bool { accelerator == .tcg && major < 9 }

    /// Names that a guest may be given and be moved with.
    package var guestCPUModels: [String] { models.filter { $0.runs && $0.migrates }.map(\.name) }
}

/// Asks the host what it is and has.
package struct HostProbe: Sendable {
    package let configuration: AgentConfiguration
    package let logger: Logger

    package init(configuration: AgentConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// From the file if it still holds, else by running QEMU.
    package func qemu() async throws -> QEMUFacts {
        struct Cached: Codable {
            package var key: String
            package var facts: QEMUFacts
        }
        let paths = HostPaths(configuration)
        let key = try cacheKey()
        // One that is not understood, such as another version's, is measured anew.
        if let bytes = try DurableFile.read(paths.probe), let cached = try? JSONDecoder().decode(Cached.self, from: bytes),
            cached.key == key
        {
            return cached.facts
        }
        let facts = try await measure(paths)
        try DurableFile.write(try JSONEncoder().encode(Cached(key: key, facts: facts)), to: paths.probe, as: .probe)
        return facts
    }

    /// This boot of the kernel, this program, this wish.
    private func cacheKey() throws -> String {
        let boot = Self.line("/proc/sys/kernel/random/boot_id")
        let program = try Self.find(configuration.qemu)
        var status = stat()
        guard stat(program, &status) == 0 else {
            throw AgentProblem(.invalid, .invalidRequest, "QEMU \(program) cannot be read: \(systemMessage(errno))")
        }
        let modified = "\(status.st_mtim.tv_sec).\(status.st_mtim.tv_nsec)"
        return [boot, program, "\(status.st_size)", modified, configuration.accelerator.rawValue, "\(access("/dev/kvm", R_OK | W_OK))"]
            .joined(separator: " ")
    }

    private static func find(_ program: String) throws -> String {
        if program.contains("/") { return program }
        for folder in (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":") {
            let path = "\(folder)/\(program)"
            if access(path, X_OK) == 0 { return path }
        }
        throw AgentProblem(.invalid, .invalidRequest, "there is no \(program) in PATH: install QEMU, or give its path as `qemu`")
    }

    private func measure(_ paths: HostPaths) async throws -> QEMUFacts {
        var warnings: [String] = []
        var accelerator = configuration.accelerator
        if accelerator != .tcg {
            let obstacle =
                access("/dev/kvm", R_OK | W_OK) == 0
                ? try await AcceleratorProbe.obstacle(to: .kvm, qemu: configuration.qemu, folder: paths.state)
                : "/dev/kvm cannot be opened (\(systemMessage(errno)))"
            if let obstacle {
                guard accelerator == .auto else {
                    throw AgentProblem(
                        .invalid, .invalidRequest,
                        "`accelerator` is kvm, but KVM does not run guests here, because \(obstacle): mend that, or set auto or tcg")
                }
                warnings.append("guests run by software emulation (TCG), many times slower than KVM, because \(obstacle)")
                logger.warning("KVM is not used", metadata: ["because": .string(obstacle)])
            }
            accelerator = obstacle == nil ? .kvm : .tcg
        }
        return try await ask(paths, accelerator: accelerator, warnings: warnings)
    }

    /// Starts a QEMU without a machine and asks it.
    private func ask(_ paths: HostPaths, accelerator: Accelerator, warnings: [String]) async throws -> QEMUFacts {
        let socket = paths.run + "/probe.qmp"
        unlink(socket)
        defer { unlink(socket) }
        return try await withThrowingTaskGroup(of: QEMUFacts?.self) { group in
            let (qemu, logger) = (configuration.qemu, logger)
            group.addTask {
                let outcome = try await Program.run(
                    qemu,
                    [
                        "-machine", "none", "-S", "-accel", accelerator.rawValue, "-nodefaults", "-no-user-config", "-display", "none",
                        "-qmp",
                        "unix:\(CommandLine.escaped(socket)),server=on,wait=off",
                    ], deadline: .seconds(60))
                guard outcome.status == 0 else {
                    throw AgentProblem(.failed, .qemuError, "\(qemu) cannot be asked what it can do: \(outcome.error)")
                }
                return nil
            }
            group.addTask {
                let client = try await Self.connect(socket, until: .now.advanced(by: .seconds(30)), logger: logger)
                let machines = try await client.queryMachines()
                let models = try await client.queryCPUDefinitions()
                let mostCPU = try await client.queryCPUModelExpansion("max")
                let leastCPU = try await client.queryCPUModelExpansion("base")
                let version = client.version
                try await client.quit()
                var aliases: [String: String] = [:]
                for machine in machines { if let alias = machine.alias { aliases[alias] = machine.name } }
                return QEMUFacts(
                    version: "\(version.major).\(version.minor).\(version.micro)", major: version.major,
                    machineTypes: machines.map(\.name).filter { $0.hasPrefix("pc-i440fx-") || $0.hasPrefix("pc-q35-") }.sorted(),
                    machineAliases: aliases.filter { $0.value.hasPrefix("pc-") },
                    models: models.map {
                        QEMUFacts.Model(
                            name: $0.name, aliasOf: $0.aliasOf, runs: $0.unavailableFeatures?.isEmpty ?? false,
                            migrates: $0.migrationSafe ?? false)
                    }.sorted { $0.name < $1.name },
                    accelerator: accelerator, warnings: warnings, mostCPU: mostCPU, leastCPU: leastCPU)
            }
            var facts: QEMUFacts?
            while let next = try await group.next() {
                if let next { facts = next }
            }
            guard let facts else { throw AgentProblem(.failed, .qemuError, "\(qemu) ended before it was asked what it can do") }
            return facts
        }
    }

    /// Connects as soon as somebody listens.
    private static func connect(_ socket: String, until deadline: ContinuousClock.Instant, logger: Logger) async throws -> QMPClient {
        while true {
            do {
                return try await QMPClient.connect(path: socket, deadline: ContinuousClock.now.duration(to: deadline), logger: logger)
            } catch let error as QMPError where error.code == .couldNotConnect && ContinuousClock.now < deadline {
                // Looked for again: nothing tells when QEMU begins to listen.
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    /// What a storage has room for and what lies there; blocks for as long as the storage does.
    package static func look(at storage: AgentConfiguration.StoragePath) throws -> Storage {
        let room = try Room(of: storage.path)
        return Storage(
            name: storage.name, kind: storage.kind, capacityBytes: room.capacity, freeBytes: room.free,
            bases: try BaseImages.names(on: storage.path))
    }

    /// The host as it is now.
    /// - Parameter storages: those that can be used.
    package func facts(qemu: QEMUFacts, guests: [GuestSummary], storages: [Storage]) -> HostFacts {
        var names = utsname()
        uname(&names)
        let info = Self.lines("/proc/cpuinfo")
        func processor(_ key: String) -> String {
            info.first { $0.hasPrefix(key) }.flatMap { $0.split(separator: ":", maxSplits: 1).dropFirst().first }
                .map { $0.trimmingCharacters(in: .whitespaces) } ?? ""
        }
        let page = Int64(sysconf(Int32(_SC_PAGESIZE)))
        return HostFacts(
            architecture: Self.text(names.machine), cpuModel: processor("model name"), microcode: processor("microcode"),
            kernel: Self.text(names.release), qemuVersion: qemu.version, machineTypes: qemu.machineTypes,
            machineAliases: qemu.machineAliases,
            guestCPUModels: qemu.guestCPUModels, accelerator: qemu.accelerator, warnings: qemu.warnings,
            cpus: max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))), memoryBytes: Int64(sysconf(Int32(_SC_PHYS_PAGES))) * page,
            pageSizeBytes: page, storages: storages, networks: configuration.networks.map { Network(name: $0.name, kind: $0.kind) },
            guests: guests)
    }

    /// Bytes that the kernel could give to new processes (`MemAvailable`).
    package static var availableMemory: Int64 {
        let kilobytes = lines("/proc/meminfo").first { $0.hasPrefix("MemAvailable:") }
            .flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int64($0) }
        return kilobytes.map { $0 * 1024 } ?? .max
    }

    private static func line(_ path: String) -> String { lines(path).first ?? "" }

    private static func lines(_ path: String) -> [String] {
        (FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? "").split(separator: "\n").map(
            String.init)
    }

    private static func text<Field>(_ field: Field) -> String {
        withUnsafeBytes(of: field) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

/// The room of a file system (`statvfs`), in bytes.
package struct Room {
    package let capacity: Int64
    package let free: Int64

    package init(of path: String) throws {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else {
            throw AgentProblem(.failed, .diskError, "the folder \(path) cannot be used: \(systemMessage(errno))")
        }
        self.capacity = Int64(status.f_blocks) * Int64(status.f_frsize)
        self.free = Int64(status.f_bavail) * Int64(status.f_frsize)
    }
}
