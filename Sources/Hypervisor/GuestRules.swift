import AgentAPI
package import Fleet
import Foundation

/// What guests a host can run, and how it runs those whose owner left something open.
package struct GuestRules: Sendable {
    private let configuration: AgentConfiguration
    private let qemu: QEMUFacts

    package init(_ configuration: AgentConfiguration, _ qemu: QEMUFacts) {
        self.configuration = configuration
        self.qemu = qemu
    }

    /// The description with everything pinned that an owner may leave open, so that it stays the same for the server's life and on every host;
    /// and sentences about what was changed.
    /// - Throws: ``AgentProblem`` of kind `invalid` when no guest can be made of it here.
    package func pin(_ wish: GuestDescription) throws -> (GuestDescription, warnings: [String]) {
        var guest = wish
        var warnings: [String] = []
        if guest.accelerator == .auto {
            guest.accelerator = qemu.accelerator
            warnings += qemu.warnings
        }
        if guest.machine.isEmpty { guest.machine = "pc" }
        guest.machine = qemu.machineAliases[guest.machine] ?? guest.machine
        if guest.cpuModel.isEmpty { guest.cpuModel = guest.accelerator == .tcg ? "qemu64" : "kvm64" }
        if let model = qemu.models.first(where: { $0.name == guest.cpuModel }) {
            guest.cpuModel = model.aliasOf ?? model.name
            if !model.migrates { warnings.append("CPU model \(guest.cpuModel) is this host's own: the server cannot be migrated live") }
        }
        if guest.accelerator == .tcg, qemu.losesDirtyPages, guest.memoryBytes % (256 << 10) == 0 {
            guest.memoryBytes += 8 << 10
            warnings.append(
                "the guest has 8 KiB more memory than asked for: QEMU \(qemu.version) under TCG corrupts guests in a live migration when their memory is a multiple of 256 KiB"
            )
        }
        try check(guest)
        return (guest, warnings)
    }

    /// - Throws: ``AgentProblem`` of kind `invalid` when this host cannot run that guest.
    package func check(_ guest: GuestDescription) throws {
        func refuse(_ message: String, _ code: Reason.Code = .invalidRequest) -> AgentProblem { AgentProblem(.invalid, code, message) }
        func some(_ names: [String]) -> String { names.sorted().suffix(8).joined(separator: ", ") }
        guard guest.vcpus > 0, guest.vcpus <= 255 else { throw refuse("\(guest.vcpus) vCPUs are not possible: give 1 to 255") }
        guard guest.memoryBytes >= 4 << 20, guest.memoryBytes % (8 << 10) == 0 else {
            throw refuse("\(guest.memoryBytes) bytes of memory are not possible: give at least 4 MiB, in whole multiples of 8 KiB")
        }
        guard qemu.machineTypes.contains(guest.machine) else {
            throw refuse(
                "QEMU \(qemu.version) here has no machine type \(guest.machine): it has \(some(qemu.machineTypes)) and more",
                .incompatibleQEMU)
        }
        guard guest.accelerator == .tcg || guest.accelerator == qemu.accelerator else {
            throw refuse(
                "host \(configuration.name) runs guests by \(qemu.accelerator.rawValue), not by \(guest.accelerator.rawValue)",
                .incompatibleQEMU)
        }
        guard qemu.models.contains(where: { $0.name == guest.cpuModel && $0.runs }) else {
            throw refuse(
                "CPU model \(guest.cpuModel) cannot run here by \(qemu.accelerator.rawValue): \(some(qemu.guestCPUModels.filter { $0.contains("-v") })) can",
                .incompatibleCPU)
        }
        if let obstacle = CommandLine.obstacle(guest) { throw refuse(obstacle) }
        let names = guest.disks.map(\.name) + guest.nics.map(\.name)
        guard Set(names).count == names.count, names.allSatisfy(Self.isPlain) else {
            throw refuse("the names of disks and nics must differ and be plain words: \(names.joined(separator: ", "))")
        }
        for disk in guest.disks where !(0...1 << 50).contains(disk.sizeBytes) || disk.sizeBytes % 512 != 0 {
            throw refuse("disk \(disk.name) has \(disk.sizeBytes) bytes: give a multiple of 512, of \(1 << 50 as Int64) at most")
        }
        for nic in guest.nics {
            guard configuration.networks.contains(where: { $0.name == nic.network }) else {
                throw refuse("host \(configuration.name) is not attached to network \(nic.network)")
            }
            let octets = nic.mac.split(separator: ":", omittingEmptySubsequences: false)
            guard octets.count == 6, octets.allSatisfy({ $0.count == 2 && UInt8($0, radix: 16) != nil }) else {
                throw refuse("\(nic.mac) is no MAC address: give six octets in hexadecimal with colons")
            }
        }
        if let medium = guest.cdrom, !medium.isEmpty { _ = try Medium.size(of: medium, host: configuration.name) }
        for path in [guest.boot?.kernel, guest.boot?.initrd].compactMap({ $0 }) {
            guard path.hasPrefix("/"), FileManager.default.isReadableFile(atPath: path) else {
                throw refuse(
                    "\(path) cannot be read on host \(configuration.name): it must be there under the same path on every host the server runs on"
                )
            }
        }
        if guest.firmware == .uefi { _ = try firmware() }
        if guest.tpm != nil, !hasTPMEmulator {
            throw refuse("host \(configuration.name) has no \(configuration.swtpm) for the server's TPM: install the package swtpm")
        }
    }

    /// Fit for QEMU's node names and ids, and for file names.
    static func isPlain(_ name: String) -> Bool {
        (1...20).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                ("a"..."z").contains(Unicode.Scalar($0)) || ("0"..."9").contains(Unicode.Scalar($0)) || $0 == UInt8(ascii: "-")
            }
            && name.utf8.first != UInt8(ascii: "-")
    }

    /// Whether swtpm is installed.
    package var hasTPMEmulator: Bool { Program.isInstalled(configuration.swtpm) }

    /// OVMF's code and the template of its variables, where they are installed.
    package var firmwareFiles: (code: String, variables: String)? {
        let folder = configuration.firmwareDirectory
        for suffix in ["_4M.fd", ".fd"] {
            let code = "\(folder)/OVMF_CODE\(suffix)"
            let variables = "\(folder)/OVMF_VARS\(suffix)"
            if FileManager.default.isReadableFile(atPath: code), FileManager.default.isReadableFile(atPath: variables) {
                return (code, variables)
            }
        }
        return nil
    }

    /// - Throws: ``AgentProblem`` with the remedy where OVMF is not installed.
    package func firmware() throws -> (code: String, variables: String) {
        if let firmwareFiles { return firmwareFiles }
        throw AgentProblem(
            .invalid, .invalidRequest,
            "there is no OVMF in \(configuration.firmwareDirectory): install the package ovmf, or create the server with BIOS")
    }
}
