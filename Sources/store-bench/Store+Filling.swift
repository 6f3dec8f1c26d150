import Fleet
import SQL
import Store

/// Rows of a fleet as agents and people make them, many at a time.
extension Store {
    static let mebibyte: Int64 = 1 << 20
    private static let page = 500

    /// Hosts that have room for everything, by the store's own words.
    func addHosts(_ count: Int) async throws -> [HostID] {
        let facts = HostFacts(
            architecture: "x86_64", cpuModel: "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", microcode: "0xd0003b9", kernel: "6.1.0-44-amd64",
            qemuVersion: "7.2.22", machineTypes: ["pc-i440fx-7.2"], machineAliases: ["pc": "pc-i440fx-7.2"],
            guestCPUModels: ["qemu64-v1"], accelerator: .kvm, warnings: [], cpus: 100_000, memoryBytes: 1 << 50, pageSizeBytes: 4096,
            storages: [Storage(name: "local", kind: .local, capacityBytes: 1 << 55, freeBytes: 1 << 55)],
            networks: [Network(name: "lan", kind: .user)], guests: [])
        var ids: [HostID] = []
        for number in 0..<count {
            let host = try await registerHost(name: "host-\(number)", agentURL: "https://10.0.0.1:7070")
            try await recordHealth(of: host.id, facts: facts, validForMS: 86_400_000)
            _ = try await setHostLimits(host.id, inbound: 1_000_000, outbound: 1_000_000)
            ids.append(host.id)
        }
        return ids
    }

    /// Servers that run, evenly on the hosts.
    func addServers(_ count: Int, on hosts: [HostID], from first: Int = 0) async throws -> [ServerID] {
        var ids: [ServerID] = []
        for start in stride(from: first, to: first + count, by: Self.page) {
            var rows: [SQLStatement] = []
            for number in start..<min(start + Self.page, first + count) {
                let id = ServerID.unique()
                ids.append(id)
                let host = hosts[number % hosts.count].value
                rows.append(
                    """
                    (\(id.value), \("server-\(number)"), 'running', \(host), 1, 1, \(128 * Self.mebibyte), \(Self.description(id, number)),
                        1700000000000)
                    """)
            }
            let list = SQLStatement(parts: Array(rows.map(\.parts).joined(separator: [.text(", ")])))
            try await database.write { transaction in
                try await transaction.execute(
                    "INSERT INTO servers (id, name, status, host_id, epoch, vcpus, memory, description, created_at) VALUES \(list)")
            }
        }
        return ids
    }

    private static func description(_ id: ServerID, _ number: Int) -> String {
        """
        {"accelerator":"kvm","cpuModel":"qemu64-v1","disks":[{"bus":"virtio-blk","format":"qcow2","name":"disk0","sizeBytes":10737418240,\
        "storage":"local"}],"firmware":"bios","machine":"pc-i440fx-7.2","memoryBytes":134217728,"name":"server-\(number)","nics":\
        [{"mac":"52:54:00:00:00:01","name":"nic0","network":"lan"}],"server":"\(id.value)","vcpus":1}
        """
    }
}
