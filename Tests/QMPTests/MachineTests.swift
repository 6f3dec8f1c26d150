import Glibc
import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `A machine by the typed commands` {
    @Test func `tells what it is and what it could be`() async throws {
        try await withClient(smallPC) { client, qemu in
            #expect(try await client.queryKVM().enabled == false)
            let machines = try await client.queryMachines()
            let pc = try #require(machines.first { $0.alias == "pc" })
            #expect(pc.name.hasPrefix("pc-i440fx-"))
            #expect(pc.maximumCPUs > 100)
            #expect(machines.contains { $0.isDefault == true })

            let models = try await client.queryCPUDefinitions()
            #expect(models.first { $0.name == "qemu64-v1" }?.unavailableFeatures == [])
            #expect(models.first { $0.name == "EPYC-v1" }?.unavailableFeatures?.isEmpty == false, "TCG lacks some of its features")
            #expect(models.first { $0.name == "max" }?.migrationSafe == false)
            let model = try await client.queryCPUModelExpansion("qemu64-v1", properties: ["avx": true])
            #expect(model.props?["sse2"] == true)
            #expect(model.props?["avx"] == true)
            #expect(model.props?["avx2"] == false)

            let processors = try await client.queryCPUsFast()
            #expect(processors.map(\.index) == [0])
            #expect(kill(pid_t(try #require(processors.first?.threadID)), 0) == 0)
            #expect(access("/proc/\(qemu.pid)/task/\(try #require(processors.first?.threadID))", F_OK) == 0)
        }
    }

    @Test func `starts and stops`() async throws {
        try await withClient(smallPC) { client, _ in
            #expect(try await client.queryStatus().status == "prelaunch")
            try await client.cont()
            #expect(try await client.queryStatus().status == "running")
            try await client.stop()
            #expect(try await client.queryStatus().status == "paused")
        }
    }

    @Test func `has its cables pulled and its nics announced`() async throws {
        let nic = ["-netdev", "hubport,hubid=0,id=net0", "-device", "virtio-net-pci,netdev=net0,id=nic0"]
        try await withClient(smallPC + nic) { client, _ in
            try await client.setLink("nic0", up: false)
            let network = try await client.execute("human-monitor-command", ["command-line": "info network"], as: String.self)
            #expect(network.contains("nic0: index=0,type=nic"))
            try await client.setLink("net0", up: true)
            try await client.announceSelf(initial: 10, max: 20, rounds: 1, step: 5)
            let unknown = await #expect(throws: QMPError.self) { try await client.setLink("nic9", up: true) }
            #expect(unknown?.errorClass == .deviceNotFound)
        }
    }

    @Test func `takes objects and gives them back`() async throws {
        try await withClient { client, _ in
            try await client.objectAdd(["qom-type": "iothread", "id": "io0"])
            #expect(try await client.execute("query-iothreads").array?.count == 1)
            try await client.objectDel("io0")
            #expect(try await client.execute("query-iothreads").array == [])
        }
    }
}
