import QMP
import Testing

@Suite(.timeLimit(.minutes(1))) struct `Asking QEMU what it can` {
    @Test func `finds commands, arguments, events and words`() async throws {
        try await withClient { client, _ in
            let schema = try await client.querySchema()
            #expect(schema.hasCommand("blockdev-mirror"))
            #expect(!schema.hasCommand("no-such"))
            #expect(!schema.hasCommand("STOP"), "an event is no command")
            #expect(!schema.hasCommand("int"), "nor is a type")
            #expect(schema.hasEvent("BLOCK_JOB_READY"))
            #expect(!schema.hasEvent("blockdev-mirror"))

            #expect(schema.hasArgument(command: "blockdev-mirror", argument: "copy-mode"))
            #expect(!schema.hasArgument(command: "blockdev-mirror", argument: "no-such"))
            #expect(!schema.hasArgument(command: "no-such", argument: "device"))
            #expect(schema.hasArgument(command: "blockdev-add", argument: "detect-zeroes"))
            #expect(schema.hasArgument(command: "blockdev-add", argument: "reconnect-delay"), "of the variant nbd only")
            #expect(schema.hasArgument(command: "blockdev-add", path: ["server", "host"]), "of a variant of an argument of a variant")
            #expect(schema.hasArgument(command: "migrate-set-capabilities", path: ["capabilities", "state"]), "of a list's elements")
            #expect(!schema.hasArgument(command: "migrate-set-capabilities", path: ["state"]))

            #expect(schema.enumValues(command: "blockdev-mirror", path: ["sync"]).isSuperset(of: ["full", "top", "none"]))
            #expect(schema.enumValues(command: "blockdev-mirror", path: ["device"]) == [])
            #expect(schema.enumValues(ofReplyTo: "query-status", path: ["status"]).contains("postmigrate"))
            #expect(schema.hasMember(ofReplyTo: "query-migrate", path: ["ram", "dirty-sync-count"]))
            #expect(!schema.hasMember(ofReplyTo: "query-migrate", path: ["ram", "no-such"]))
            #expect(schema.hasMember(ofEvent: "MIGRATION", path: ["status"]))
            #expect(!schema.hasMember(ofEvent: "query-migrate", path: ["status"]))

            #expect(schema.allowsOutOfBand("yank"))
            #expect(!schema.allowsOutOfBand("migrate"))
            #expect(schema.hasFeature("deprecated", command: "change-backing-file") == false)
        }
    }

    @Test func `knows every word of ours`() async throws {
        try await withClient { client, _ in
            let schema = try await client.querySchema()
            #expect(schema.enumValues(command: "blockdev-mirror", path: ["sync"]).isSuperset(of: MirrorSync.allCases.map(\.rawValue)))
            #expect(schema.enumValues(command: "blockdev-mirror", path: ["copy-mode"]) == Set(MirrorCopyMode.allCases.map(\.rawValue)))
            #expect(schema.enumValues(command: "block-export-del", path: ["mode"]) == Set(BlockExportRemoval.allCases.map(\.rawValue)))
        }
    }

    @Test func `lists the capabilities of a migration`() async throws {
        try await withClient { client, _ in
            let names = try await client.migrateCapabilityNames()
            #expect(names.isSuperset(of: ["events", "return-path", "pause-before-switchover", "auto-converge"]))
            let schema = try await client.querySchema()
            #expect(names == schema.enumValues(command: "migrate-set-capabilities", path: ["capabilities", "capability"]))
        }
    }

    @Test func `follows a type that contains itself without end`() throws {
        let schema = try QMPSchema([
            ["name": "look", "meta-type": "command", "arg-type": "0", "ret-type": "0"],
            ["name": "0", "meta-type": "object", "members": [["name": "down", "type": "[0]"], ["name": "either", "type": "1"]]],
            ["name": "[0]", "meta-type": "array", "element-type": "0"],
            ["name": "1", "meta-type": "alternate", "members": [["type": "0"], ["type": "2"]]],
            ["name": "2", "meta-type": "enum", "values": ["old", "style"]],
        ])
        #expect(schema.hasArgument(command: "look", path: ["down", "down", "either", "down"]))
        #expect(schema.enumValues(command: "look", path: ["down", "either"]) == ["old", "style"])
        #expect(!schema.hasArgument(command: "look", path: ["either", "either", "up"]))
    }

    @Test func `refuses what is no schema`() {
        #expect(throws: (any Error).self) { try QMPSchema(["name": "x"]) }
        #expect(throws: (any Error).self) { try QMPSchema([["name": "x"]]) }
    }
}
