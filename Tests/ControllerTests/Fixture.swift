import Client
import Controller
import Fleet
import Foundation
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import NIOFoundationCompat
import SQL
import SQLite
import Store

/// A controller over a real SQLite store in a folder of its own, hosts in memory, and the router without a socket.
struct Fixture: Sendable {
    let store: Store
    let fleet: ScriptedFleet
    let controller: Controller
    let client: any TestClientProtocol
    let folder: String

    static let token = "sesame-sesame-sesame"

    /// Two registered hosts that have answered once, unless said otherwise.
    static func with(
        hosts: [String] = ["host1", "host2"], timing: Operations.Timing = Operations.Timing(),
        _ body: (Fixture) async throws -> Void
    ) async throws {
        try await withStore { store, folder in
            let fleet = ScriptedFleet(hosts)
            let controller = try controller(store, fleet, timing: timing)
            for name in hosts {
                let host = try await store.registerHost(name: name, agentURL: "https://\(name).test:7070")
                await controller.watch.look(at: host)
            }
            let application = Application(router: controller.api.router(), logger: quiet)
            // The test client's body is @Sendable; what it captures here outlives it, since `test` is awaited.
            nonisolated(unsafe) let body = body
            try await application.test(.router) { client in
                try await body(Fixture(store: store, fleet: fleet, controller: controller, client: client, folder: folder))
            }
        }
    }

    static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    static func controller(
        _ store: Store, _ fleet: ScriptedFleet, name: String = "c1", tls: TLSFiles? = nil, port: Int = 0,
        timing: Operations.Timing = Operations.Timing(), watch: HostWatch.Timing = HostWatch.Timing()
    ) throws -> Controller {
        Controller(
            store: store, agents: fleet,
            configuration: Controller.Configuration(
                name: name, host: "127.0.0.1", port: port, tls: try tls?.server(),
                tokens: try BearerTokens(text: "# who may ask\nalice \(token)\n\nopen-open-open-open\n"), operations: timing, watch: watch,
                doctor: Doctor.Timing(deadline: .seconds(2), pause: .milliseconds(10))),
            log: quiet)
    }

    struct Reply {
        let status: Int
        let headers: HTTPFields
        let body: Data

        func decode<T: Decodable>(_ type: T.Type = T.self) throws -> T { try JSONDecoder().decode(type, from: body) }
        var problem: Problem {
            get throws { try decode() }
        }
        var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// - Parameter body: JSON.
    func ask(
        _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, token: String? = Fixture.token,
        type: String? = "application/json"
    ) async throws -> Reply {
        var headers = HTTPFields()
        if let token { headers[.authorization] = "Bearer \(token)" }
        if body != nil { headers[.contentType] = type }
        return try await client.execute(uri: path, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) }) {
            response in
            Reply(status: response.status.code, headers: response.headers, body: Data(buffer: response.body))
        }
    }

    /// A server of this name, off or running, made through the API.
    @discardableResult
    func server(_ name: String, host: String = "host1", running: Bool = false) async throws -> ServerView {
        let created = try await ask(
            .post, "/v1/servers", #"{"name": "\#(name)", "memory_mb": 64, "disks": [{"size_bytes": 67108864}], "prefer_host": "\#(host)"}"#)
        guard created.status == 201 else { throw try created.problem }
        guard running else { return try created.decode() }
        let started = try await ask(.post, "/v1/servers/\(name)/start")
        guard started.status == 200 else { throw try started.problem }
        return try started.decode()
    }

    /// All that a refusal must leave as it was.
    func snapshot() async throws -> [String] {
        var lines: [String] = []
        for server in try await store.servers(ServerFilter()) { lines.append("\(server)") }
        for migration in try await store.migrations(MigrationFilter(limit: 1000)) { lines.append("\(migration)") }
        for host in try await store.hosts() { lines.append("\(host.name) \(host.agentURL) \(host.enabled)") }
        for name in fleet.agents.keys.sorted() {
            lines += await fleet[name].orders
            for (id, guest) in await fleet[name].guests.sorted(by: { $0.key.value < $1.key.value }) {
                lines.append("\(name) \(id) \(guest)")
            }
        }
        return lines
    }
}

/// A store in a folder that is removed afterwards.
func withStore(_ body: (Store, String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "godwit-ctl-\(UUID().uuidString.prefix(8))").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    do {
        let store = try await Store.open { try await SQLiteDatabase.open(path: "\(folder)/godwit.db") }
        do {
            try await body(store, folder)
        } catch {
            await store.database.close()
            throw error
        }
        await store.database.close()
    } catch {
        try FileManager.default.removeItem(atPath: folder)
        throw error
    }
    try FileManager.default.removeItem(atPath: folder)
}

struct TimedOut: Error, CustomStringConvertible {
    let description: String
}

/// Asks again until it is true.
func eventually(_ what: String, within limit: Duration = .seconds(10), _ condition: () async throws -> Bool) async throws {
    let end = ContinuousClock.now + limit
    while try await !condition() {
        guard ContinuousClock.now < end else { throw TimedOut(description: "not in time: \(what)") }
        try await Task.sleep(for: .milliseconds(10))
    }
}
