/// What this QEMU can do, asked of it instead of guessed from its version (QAPI `query-qmp-schema`).
package struct QMPSchema: Sendable {
    private struct Entity: Decodable, Sendable {
        struct Member: Decodable, Sendable {
            let name: String?
            let type: String?
            let features: [String]?
        }
        struct Variant: Decodable, Sendable {
            let type: String
        }

        let name: String
        let metaType: String
        let members: [Member]?
        let values: [String]?
        let variants: [Variant]?
        let elementType: String?
        let argumentType: String?
        let replyType: String?
        let allowsOOB: Bool?
        let features: [String]?

        enum CodingKeys: String, CodingKey {
            case name, members, values, variants, features
            case metaType = "meta-type"
            case elementType = "element-type"
            case argumentType = "arg-type"
            case replyType = "ret-type"
            case allowsOOB = "allow-oob"
        }
    }

    private let entities: [String: Entity]

    /// - Parameter reply: what `query-qmp-schema` returned.
    package init(_ reply: JSONValue) throws {
        self.entities = Dictionary(try reply.decode(as: [Entity].self).map { ($0.name, $0) }) { _, last in last }
    }

    package func hasCommand(_ name: String) -> Bool {
        entities[name]?.metaType == "command"
    }

    package func hasEvent(_ name: String) -> Bool {
        entities[name]?.metaType == "event"
    }

    /// Whether the command may be executed out-of-band.
    package func allowsOutOfBand(_ command: String) -> Bool {
        self.command(command)?.allowsOOB ?? false
    }

    /// Whether the command has that feature flag, such as `deprecated`.
    package func hasFeature(_ feature: String, command: String) -> Bool {
        self.command(command)?.features?.contains(feature) ?? false
    }

    /// Whether the command takes that argument, be it in one variant only (`server` of `blockdev-add` belongs to driver `nbd`).
    package func hasArgument(command: String, argument: String) -> Bool {
        hasArgument(command: command, path: [argument])
    }

    /// The same for a member within an argument: `["addr", "type"]` of `nbd-server-start`. Lists and alternatives are looked through.
    package func hasArgument(command: String, path: [String]) -> Bool {
        !types(from: self.command(command)?.argumentType, path: path).isEmpty
    }

    /// Whether what the command returns has that member: `["ram", "mbps"]` of `query-migrate`.
    package func hasMember(ofReplyTo command: String, path: [String]) -> Bool {
        !types(from: self.command(command)?.replyType, path: path).isEmpty
    }

    /// Whether the event's data has that member.
    package func hasMember(ofEvent event: String, path: [String]) -> Bool {
        guard hasEvent(event) else { return false }
        return !types(from: entities[event]?.argumentType, path: path).isEmpty
    }

    /// The words that the argument may be, empty when it is no enumeration: `["sync"]` of `blockdev-mirror`, `["capabilities", "capability"]` of `migrate-set-capabilities`.
    package func enumValues(command: String, path: [String]) -> Set<String> {
        words(types(from: self.command(command)?.argumentType, path: path))
    }

    /// The words that a member of the reply may be: `["status"]` of `query-status`.
    package func enumValues(ofReplyTo command: String, path: [String]) -> Set<String> {
        words(types(from: self.command(command)?.replyType, path: path))
    }

    private func command(_ name: String) -> Entity? {
        guard let entity = entities[name], entity.metaType == "command" else { return nil }
        return entity
    }

    /// The types that stand at the path's end. The schema names types by numbers only, so that every question starts at a command or an event.
    private func types(from type: String?, path: [String]) -> Set<String> {
        guard let type else { return [] }
        var here: Set<String> = [type]
        for name in path {
            var next: Set<String> = []
            for object in objects(behind: here) {
                for member in object.members ?? [] where member.name == name {
                    if let type = member.type { next.insert(type) }
                }
            }
            here = next
        }
        return here
    }

    /// The object types reached from the given ones through lists, alternatives and variants.
    private func objects(behind types: Set<String>) -> [Entity] {
        reachable(from: types).filter { $0.metaType == "object" }
    }

    private func words(_ types: Set<String>) -> Set<String> {
        var words: Set<String> = []
        for entity in reachable(from: types, variants: false) where entity.metaType == "enum" {
            // Members came with QEMU 6.2, the plain list of values is older and kept for old clients.
            words.formUnion(entity.members?.compactMap(\.name) ?? entity.values ?? [])
        }
        return words
    }

    private func reachable(from types: Set<String>, variants: Bool = true) -> [Entity] {
        var seen: Set<String> = []
        var open = Array(types)
        var found: [Entity] = []
        while let name = open.popLast() {
            guard seen.insert(name).inserted, let entity = entities[name] else { continue }
            found.append(entity)
            switch entity.metaType {
            case "array": if let element = entity.elementType { open.append(element) }
            case "alternate": open.append(contentsOf: entity.members?.compactMap(\.type) ?? [])
            case "object": if variants { open.append(contentsOf: entity.variants?.map(\.type) ?? []) }
            default: break
            }
        }
        return found
    }
}

extension QMPClient {
    /// QAPI `query-qmp-schema`: some 200 KB; ask once per QEMU process.
    package func querySchema(deadline: Duration = defaultDeadline) async throws -> QMPSchema {
        let reply = try await execute("query-qmp-schema", deadline: deadline)
        do {
            return try QMPSchema(reply)
        } catch {
            throw QMPError(.unexpectedReply, "QEMU's answer to query-qmp-schema is not a schema: \(error)", command: "query-qmp-schema")
        }
    }
}
