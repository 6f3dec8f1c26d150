import Client
import Fleet
import Foundation
import Hummingbird
import Store
import Testing

@testable import Controller

/// Bad input: the right status, a code for programs, a sentence for people, and nothing changed in the store or on a host.
struct RefusalTests {
    struct Case: CustomTestStringConvertible {
        let method: HTTPRequest.Method
        let path: String
        var body: String?
        let status: Int
        let code: String
        /// In the sentence.
        let says: String
        var field: String?

        init(
            _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, _ status: Int, _ code: String, says: String,
            field: String? = nil
        ) {
            self.method = method
            self.path = path
            self.body = body
            self.status = status
            self.code = code
            self.says = says
            self.field = field
        }

        var testDescription: String { "\(method) \(path) \(body ?? "")" }
    }

    static let migrations: [Case] = [
        Case(.post, "/v1/servers/nosuch/live-migrate", "{}", 404, "not-found", says: "nosuch"),
        Case(.post, "/v1/servers/off/live-migrate", nil, 409, "wrong-status", says: "off is ready; it must be running"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"prefer_host": "nohost"}"#, 404, "not-found", says: "nohost", field: "prefer_host"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"prefer_host": "host1"}"#, 409, "same-host", says: "host1 already",
            field: "prefer_host"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"max_bandwidth_mb": 0}"#, 400, "invalid-request", says: "between 1 and",
            field: "max_bandwidth_mb"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"priority": 101}"#, 400, "invalid-request", says: "between -100 and", field: "priority"
        ),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"max_bandwidth_mb": -5}"#, 400, "invalid-request", says: "-5",
            field: "max_bandwidth_mb"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"max_bandwidth_mb": "100"}"#, 400, "invalid-request", says: "whole number, not a text",
            field: "max_bandwidth_mb"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"max_bandwidth_mb": 1.5}"#, 400, "invalid-request", says: "whole number",
            field: "max_bandwidth_mb"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"multifd": 17}"#, 400, "invalid-request", says: "between 2 and 16", field: "multifd"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"multifd": 4, "post_copy": true}"#, 400, "invalid-request", says: "do not go together",
            field: "multifd"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"max_downtime_ms": 0}"#, 400, "invalid-request", says: "milliseconds",
            field: "max_downtime_ms"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"cpu_check": "none"}"#, 400, "invalid-request", says: "exact, features",
            field: "cpu_check"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"cpu_check": "features", "skip_cpu_check": true}"#, 400, "invalid-request",
            says: "one of the two", field: "skip_cpu_check"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"stall_timeout_s": 1}"#, 400, "invalid-request", says: "between 5 and",
            field: "stall_timeout_s"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"auto_start": true}"#, 400, "invalid-request", says: "auto_start", field: "auto_start"),
        Case(.post, "/v1/servers/nosuch/migrate", nil, 404, "not-found", says: "nosuch"),
        Case(
            .post, "/v1/servers/on/migrate", nil, 409, "wrong-status",
            says: "on is running, and a cold migration needs it off; use server-live-migrate, or stop it first"),
        Case(.post, "/v1/servers/moving/migrate", nil, 409, "busy", says: "moving"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"prefer_host": "nohost"}"#, 404, "not-found", says: "host-list", field: "prefer_host"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"prefer_host": "host1"}"#, 409, "same-host", says: "host1 already", field: "prefer_host"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"rescue_mode": true, "confirm_host_down": true}"#, 409, "host-not-down",
            says: "host1 of the server off answers, so there is nothing to rescue; use server-migrate without", field: "rescue_mode"),
        Case(
            .post, "/v1/servers/on/migrate", #"{"rescue_mode": true}"#, 409, "host-not-down", says: "use server-live-migrate",
            field: "rescue_mode"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"confirm_host_down": true}"#, 400, "invalid-request", says: "only with rescue_mode",
            field: "confirm_host_down"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"rescue_mode": true, "max_bandwidth_mb": 5}"#, 400, "invalid-request",
            says: "copies nothing", field: "max_bandwidth_mb"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"rescue_mode": true, "enable_tls": true}"#, 400, "invalid-request",
            says: "copies nothing", field: "enable_tls"),
        Case(
            .post, "/v1/servers/off/migrate", #"{"quickly_finish": true}"#, 400, "invalid-request", says: "known are priority, prefer_host",
            field: "quickly_finish"),
        Case(.post, "/v1/servers/nosuch/cancel-live-migrate", nil, 404, "not-found", says: "nosuch"),
        Case(
            .post, "/v1/servers/on/cancel-live-migrate", nil, 409, "not-migrating",
            says: "on is running and in no migration; there is nothing to cancel"),
        Case(.post, "/v1/servers/moving/cancel-live-migrate", #"{"a": 1}"#, 400, "invalid-request", says: "a is not", field: "a"),
        Case(.post, "/v1/migrations/nosuch/cancel", nil, 404, "not-found", says: "nosuch"),
        Case(
            .post, "/v1/servers/on/set-live-migrate-params", #"{"max_bandwidth_mb": 5}"#, 409, "not-migrating", says: "nothing to set"),
        Case(.post, "/v1/servers/moving/set-live-migrate-params", nil, 400, "invalid-request", says: "max_bandwidth_mb, downtime_limit_ms"),
        Case(
            .post, "/v1/servers/moving/set-live-migrate-params", #"{"max_bandwidth_mb": -1}"#, 400, "invalid-request",
            says: "0 lifts the limit", field: "max_bandwidth_mb"),
        Case(
            .post, "/v1/servers/moving/set-live-migrate-params", #"{"downtime_limit_ms": 0}"#, 400, "invalid-request", says: "milliseconds",
            field: "downtime_limit_ms"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"max_bandwith_mb": 100}"#, 400, "invalid-request",
            says: "known are priority, prefer_host",
            field: "max_bandwith_mb"),
        Case(
            .post, "/v1/servers/on/live-migrate", #"{"skip_cpu_check": "yes"}"#, 400, "invalid-request", says: "true or false",
            field: "skip_cpu_check"),
        Case(.post, "/v1/servers/moving/live-migrate", nil, 409, "busy", says: "moving"),
        Case(.post, "/v1/servers/on/live-migrate", #"{"prefer_host": "#, 400, "invalid-request", says: "not valid JSON"),
        Case(.post, "/v1/servers/on/live-migrate", "[]", 400, "invalid-request", says: "must be an object"),
        Case(
            .post, "/v1/servers/on/live-migrate?prefer_host=host2", nil, 400, "invalid-request", says: "prefer_host", field: "prefer_host"),
    ]

    static let servers: [Case] = [
        Case(.post, "/v1/servers", nil, 400, "invalid-request", says: "name is missing", field: "name"),
        Case(.post, "/v1/servers", #"{"name": "-web"}"#, 400, "invalid-request", says: "-web", field: "name"),
        Case(.post, "/v1/servers", #"{"name": "web 1"}"#, 400, "invalid-request", says: "web 1", field: "name"),
        Case(.post, "/v1/servers", #"{"name": "web/../1"}"#, 400, "invalid-request", says: "web/../1", field: "name"),
        Case(
            .post, "/v1/servers", #"{"name": "0198f5a0-1111-4222-8333-444455556666"}"#, 400, "invalid-request", says: "written like an id",
            field: "name"),
        Case(.post, "/v1/servers", #"{"name": "off"}"#, 409, "name-taken", says: "off", field: "name"),
        Case(.post, "/v1/servers", #"{"name": "web", "vcpus": 0}"#, 400, "invalid-request", says: "between 1 and 255", field: "vcpus"),
        Case(.post, "/v1/servers", #"{"name": "web", "memory_mb": 0}"#, 400, "invalid-request", says: "memory_mb is 0", field: "memory_mb"),
        Case(.post, "/v1/servers", #"{"name": "web", "memory_mb": 15}"#, 400, "invalid-request", says: "between 16", field: "memory_mb"),
        Case(.post, "/v1/servers", #"{"name": "web", "memory_mb": 9000}"#, 409, "no-host", says: "host1 has "),
        Case(
            .post, "/v1/servers", #"{"name": "web", "memory_mb": 9000, "prefer_host": "host2"}"#, 409, "no-host", says: "host2 has ",
            field: "prefer_host"),
        Case(.post, "/v1/servers", #"{"name": "web", "memroy_mb": 64}"#, 400, "invalid-request", says: "memroy_mb", field: "memroy_mb"),
        Case(.post, "/v1/servers", #"{"name": "web", "disks": [{}]}"#, 400, "invalid-request", says: "size", field: "disks[0].size_bytes"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "disks": [{"size_bytes": 1048576}, {"size_bytes": 1048577}]}"#, 400, "invalid-request",
            says: "multiple of 512", field: "disks[1].size_bytes"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "disks": [{"size_bytes": 1048576, "format": "vmdk"}]}"#, 400, "invalid-request",
            says: "qcow2, raw", field: "disks[0].format"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "disks": [{"size_bytes": 1048576, "storage": "nostore"}]}"#, 404, "not-found",
            says: "nostore", field: "disks[0].storage"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "disks": [{"size_bytes": 1048576, "colour": "red"}]}"#, 400, "invalid-request",
            says: "colour", field: "disks[0].colour"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "disks": [{"size_bytes": 1099511627776}]}"#, 409, "no-host", says: "room for disks"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "disks": [{"image": "a.qcow2"}]}"#, 400, "invalid-request", says: "absolute path",
            field: "disks[0].image"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "nics": [{"network": "nonet"}]}"#, 404, "not-found", says: "nonet",
            field: "nics[0].network"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "nics": [{"network": "lan", "mac": "52:54:00:12:34"}]}"#, 400, "invalid-request",
            says: "six octets", field: "nics[0].mac"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "nics": [{"network": "lan", "mac": "01:00:5e:00:00:01"}]}"#, 400, "invalid-request",
            says: "multicast", field: "nics[0].mac"),
        Case(
            .post, "/v1/servers",
            #"{"name": "web", "nics": [{"network": "lan", "mac": "52:54:00:00:00:0a"}, {"network": "lan", "mac": "52:54:00:00:00:0A"}]}"#,
            400, "invalid-request", says: "another nic", field: "nics[1].mac"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "nics": [{"network": "lan", "mac": "52:54:00:99:99:99"}]}"#, 409, "name-taken",
            says: "wired", field: "nics[0].mac"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "boot": {"initrd": "/i"}}"#, 400, "invalid-request", says: "kernel",
            field: "boot.kernel"),
        Case(
            .post, "/v1/servers", #"{"name": "web", "boot": {"kernel": "/k"}, "firmware": "uefi"}"#, 400, "invalid-request", says: "BIOS",
            field: "boot"),
        Case(.post, "/v1/servers", #"{"name": "web", "machine": "virt"}"#, 409, "no-host", says: "no machine type virt"),
        Case(.post, "/v1/servers", #"{"name": "web", "accelerator": "kvm"}"#, 409, "no-host", says: "KVM"),
        Case(.post, "/v1/servers", #"{"name": "web", "prefer_host": "nohost"}"#, 404, "not-found", says: "nohost", field: "prefer_host"),
        Case(.get, "/v1/servers/nosuch", nil, 404, "not-found", says: "nosuch"),
        Case(.get, "/v1/servers/no%20such", nil, 404, "not-found", says: "no such"),
        Case(.delete, "/v1/servers/nosuch", nil, 404, "not-found", says: "nosuch"),
        Case(.delete, "/v1/servers/on", nil, 409, "wrong-status", says: "stop it first"),
        Case(.delete, "/v1/servers/moving", nil, 409, "busy", says: "moving"),
        Case(.post, "/v1/servers/nosuch/start", nil, 404, "not-found", says: "nosuch"),
        Case(.post, "/v1/servers/on/start", nil, 409, "wrong-status", says: "on is running"),
        Case(.post, "/v1/servers/off/start", #"{"force": true}"#, 400, "invalid-request", says: "force", field: "force"),
        Case(.post, "/v1/servers/off/stop", nil, 409, "wrong-status", says: "off is ready"),
        Case(.post, "/v1/servers/moving/stop", nil, 409, "busy", says: "moving"),
        Case(.post, "/v1/servers/on/stop", #"{"grace_ms": -1}"#, 400, "invalid-request", says: "grace_ms", field: "grace_ms"),
        Case(.get, "/v1/servers?status=dead", nil, 400, "invalid-request", says: "dead", field: "status"),
        Case(.get, "/v1/servers?host=nohost", nil, 404, "not-found", says: "nohost", field: "host"),
        Case(.get, "/v1/servers?limit=0", nil, 400, "invalid-request", says: "between 1 and 1000", field: "limit"),
        Case(.get, "/v1/servers?offset=-1", nil, 400, "invalid-request", says: "offset", field: "offset"),
        Case(.get, "/v1/servers?order=up", nil, 400, "invalid-request", says: "asc, desc", field: "order"),
        Case(.get, "/v1/servers?order_by=colour", nil, 400, "invalid-request", says: "its fields are ID, Name", field: "order_by"),
        Case(.get, "/v1/servers?filter=colour%3Dred", nil, 400, "invalid-request", says: "its fields are ID, Name", field: "filter"),
        Case(.get, "/v1/servers?filter=status", nil, 400, "invalid-request", says: "status.equals(running)", field: "filter"),
        Case(.get, "/v1/servers?filter_any=maybe", nil, 400, "invalid-request", says: "true or false", field: "filter_any"),
        Case(.get, "/v1/servers?colour=red", nil, 400, "invalid-request", says: "known are limit, offset", field: "colour"),
    ]

    static let others: [Case] = [
        Case(
            .post, "/v1/hosts", #"{"name": "host3", "agent_url": "https://host1.test:7070/"}"#, 409, "name-taken", says: "host1",
            field: "agent_url"),
        Case(.get, "/v1/hosts/nohost", nil, 404, "not-found", says: "nohost"),
        Case(.post, "/v1/hosts/nohost/disable", nil, 404, "not-found", says: "nohost"),
        Case(.post, "/v1/hosts", #"{"name": "host3"}"#, 400, "invalid-request", says: "agent_url is missing", field: "agent_url"),
        Case(
            .post, "/v1/hosts", #"{"name": "host3", "agent_url": "http://a:1"}"#, 400, "invalid-request", says: "https://",
            field: "agent_url"),
        Case(
            .post, "/v1/hosts", #"{"name": "host3", "agent_url": "https://a:1/x"}"#, 400, "invalid-request", says: "address",
            field: "agent_url"),
        Case(.post, "/v1/hosts", #"{"name": "", "agent_url": "https://a:1"}"#, 400, "invalid-request", says: "empty", field: "name"),
        Case(.get, "/v1/migrations/nosuch", nil, 404, "not-found", says: "nosuch"),
        Case(.get, "/v1/migrations/nosuch/history", nil, 404, "not-found", says: "nosuch"),
        Case(.get, "/v1/migrations/nosuch/events", nil, 404, "not-found", says: "nosuch"),
        Case(.get, "/v1/hosts?host_status=gone", nil, 400, "invalid-request", says: "online, offline", field: "host_status"),
        Case(.get, "/v1/hosts?filter=memory%3D5", nil, 400, "invalid-request", says: "its fields are ID, Name", field: "filter"),
        Case(.get, "/v1/migrations?mode=warm", nil, 400, "invalid-request", says: "cold, live, rescue", field: "mode"),
        Case(.get, "/v1/migrations?order_by=server", nil, 400, "invalid-request", says: "by created_at or finished_at", field: "order_by"),
        Case(.get, "/v1/migrations?offset=10001", nil, 400, "invalid-request", says: "before", field: "offset"),
        Case(.get, "/v1/migrations?state=done", nil, 400, "invalid-request", says: "done", field: "state"),
        Case(.get, "/v1/migrations?limit=0", nil, 400, "invalid-request", says: "between 1 and 1000", field: "limit"),
        Case(.get, "/v1/migrations?limit=2&limit=3", nil, 400, "invalid-request", says: "twice", field: "limit"),
        Case(.get, "/v1/migrations?server=nosuch", nil, 404, "not-found", says: "nosuch", field: "server"),
        Case(.get, "/v1/nothing", nil, 404, "not-found", says: "openapi.json"),
        Case(.put, "/v1/servers", "{}", 405, "method-not-allowed", says: "GET, POST"),
        Case(.get, "/healthz?x=1", nil, 400, "invalid-request", says: "x", field: "x"),
    ]

    @Test func `every kind of bad input is refused with a sentence and changes nothing`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("off")
            try await fixture.server("on", running: true)
            try await fixture.server("moving", running: true)
            let wired =
                #"{"name": "wired", "nics": [{"network": "lan", "mac": "52:54:00:99:99:99"}], "boot": {"kernel": "/k", "command_line": ""}}"#
            #expect(try await fixture.ask(.post, "/v1/servers", wired).status == 201)
            #expect(try await fixture.ask(.post, "/v1/servers/moving/live-migrate").status == 202)
            let before = try await fixture.snapshot()
            for bad in Self.migrations + Self.servers + Self.others {
                let reply = try await fixture.ask(bad.method, bad.path, bad.body)
                #expect(reply.status == bad.status, "\(bad.testDescription): \(reply.text)")
                #expect(reply.headers[.contentType] == "application/problem+json", "\(bad.testDescription)")
                let problem = try reply.problem
                #expect(problem.status == bad.status && problem.code == bad.code, "\(bad.testDescription): \(problem)")
                #expect(problem.detail.contains(bad.says), "\(bad.testDescription) says: \(problem.detail)")
                #expect(problem.detail.hasSuffix("."), "\(bad.testDescription) says: \(problem.detail)")
                #expect(problem.field == bad.field, "\(bad.testDescription): \(problem.field ?? "no field")")
                #expect(problem.type == "urn:godwit:problem:\(bad.code)" && !problem.title.isEmpty)
            }
            #expect(try await fixture.snapshot() == before)
        }
    }

    @Test func `a body that is no JSON, or too much of it, is refused`() async throws {
        try await Fixture.with { fixture in
            let form = try await fixture.ask(.post, "/v1/servers", "name=web1", type: "application/x-www-form-urlencoded")
            #expect(form.status == 415)
            #expect(try form.problem.code == "unsupported-media-type")
            let large = try await fixture.ask(.post, "/v1/servers", #"{"name": "\#(String(repeating: "a", count: 2 << 20))"}"#)
            #expect(large.status == 413)
            #expect(try large.problem.code == "too-large")
        }
    }

    @Test func `without a host, or with none online, a server is refused with the reason`() async throws {
        try await Fixture.with(hosts: []) { fixture in
            let none = try await fixture.ask(.post, "/v1/servers", #"{"name": "web1"}"#)
            #expect(none.status == 409)
            #expect(try none.problem.code == "no-host")
            #expect(try await fixture.ask(.post, "/v1/hosts", #"{"name": "h", "agent_url": "https://h:1"}"#).status == 201)
            let offline = try await fixture.ask(.post, "/v1/servers", #"{"name": "web1"}"#)
            #expect(try offline.problem.detail.contains("h is offline"))
            #expect(try await fixture.store.servers(ServerFilter()).isEmpty)
        }
    }

    @Test func `a server on a host that does not answer is neither started nor stopped nor deleted`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("off")
            try await fixture.server("on", running: true)
            let host = try await fixture.store.host("host1")
            try await fixture.store.recordHealth(of: host.id, facts: .sample(), validForMS: 0)
            let before = try await fixture.snapshot()
            for (method, path): (HTTPRequest.Method, String) in [
                (.post, "/v1/servers/off/start"), (.post, "/v1/servers/on/stop"), (.delete, "/v1/servers/off"),
            ] {
                let reply = try await fixture.ask(method, path)
                #expect(reply.status == 503)
                #expect(try reply.problem.code == "host-offline")
                #expect(try reply.problem.detail.contains("host1"))
            }
            #expect(try await fixture.snapshot() == before)
        }
    }
}
