package import Fleet

extension HostFacts {
    /// A host with a local storage and two that other hosts see too.
    package static func staged(memoryGB: Int64, cpus: Int = 16) -> HostFacts {
        HostFacts(
            architecture: "x86_64", cpuModel: "CPU", microcode: "1", kernel: "6.1", qemuVersion: "7.2.22",
            machineTypes: ["pc-i440fx-7.2"], machineAliases: [:], guestCPUModels: ["qemu64-v1"], accelerator: .tcg, warnings: [],
            cpus: cpus, memoryBytes: memoryGB << 30, pageSizeBytes: 4096,
            storages: [("local", Storage.Kind.local), ("pool", .shared), ("shared", .shared)].map {
                Storage(name: $0, kind: $1, capacityBytes: 1 << 40, freeBytes: 1 << 40)
            }, networks: [], guests: [])
    }
}
