import APIDocument
import Client
import Diagnosis
import Fleet
import Foundation
import Hummingbird
import Testing

@testable import Controller

/// The document says what is served, and nothing else.
struct OpenAPITests {
    private func document() throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(OpenAPI.document.utf8)) as? [String: Any])
    }

    private func schema(_ name: String) throws -> [String: Any] {
        let components = try #require(try document()["components"] as? [String: Any])
        let schemas = try #require(components["schemas"] as? [String: [String: Any]])
        return try #require(schemas[name], "no schema \(name)")
    }

    private func properties(_ name: String) throws -> Set<String> {
        Set(try #require(try schema(name)["properties"] as? [String: Any]).keys)
    }

    @Test func `routes and document agree`() async throws {
        try await Fixture.with(hosts: []) { fixture in
            let paths = try #require(try document()["paths"] as? [String: [String: Any]])
            let documented = Set(paths.flatMap { path, item in item.keys.map { "\($0.uppercased()) \(path)" } })
            let routes = fixture.controller.api.routes
            #expect(Set(routes.map { "\($0.method.rawValue) \($0.path)" }) == documented)
            for route in routes {
                let item = try #require(paths[route.path]?[route.method.rawValue.lowercased()] as? [String: Any])
                let open = (item["security"] as? [Any])?.isEmpty == true
                #expect(open == route.isOpen, "\(route.path)")
            }
            let served = try await fixture.ask(.get, "/openapi.json")
            #expect(served.text == OpenAPI.document)
        }
    }

    @Test func `every reference leads somewhere, every operation has a name of its own`() throws {
        let document = try document()
        var operations: [String] = []
        func visit(_ value: Any) {
            if let object = value as? [String: Any] {
                if let reference = object["$ref"] as? String {
                    var target: Any? = document
                    for part in reference.split(separator: "/").dropFirst() { target = (target as? [String: Any])?[String(part)] }
                    #expect(target != nil, "\(reference)")
                }
                if let name = object["operationId"] as? String { operations.append(name) }
                for inner in object.values { visit(inner) }
            } else if let list = value as? [Any] {
                for inner in list { visit(inner) }
            }
        }
        visit(document)
        #expect(Set(operations).count == operations.count)
        #expect(operations.count == 55)
    }

    private func keys<Key: CodingKey & CaseIterable>(_: Key.Type) -> Set<String> { Set(Key.allCases.map(\.stringValue)) }

    @Test func `schemas have the fields of the wire types`() throws {
        #expect(try properties("Server") == keys(ServerView.CodingKeys.self))
        #expect(try properties("Disk") == keys(DiskView.CodingKeys.self))
        #expect(try properties("Boot") == keys(BootView.CodingKeys.self))
        #expect(try properties("Host") == keys(HostView.CodingKeys.self))
        #expect(try properties("Storage") == keys(StorageView.CodingKeys.self))
        #expect(try properties("Migration") == keys(MigrationView.CodingKeys.self))
        #expect(try properties("Options") == keys(OptionsView.CodingKeys.self))
        #expect(try properties("Progress") == keys(ProgressView.CodingKeys.self))
        #expect(try properties("Blackout") == keys(BlackoutView.CodingKeys.self))
        #expect(try properties("Transition") == keys(TransitionView.CodingKeys.self))
        #expect(try properties("Statistics") == keys(StatisticsView.CodingKeys.self))
        #expect(try properties("Percentiles") == keys(StatisticsView.Percentiles.CodingKeys.self))
        #expect(try properties("Verification") == keys(VerificationView.CodingKeys.self))
        #expect(try properties("Prunable") == keys(PrunableView.CodingKeys.self))
        #expect(try properties("PruneHistory") == keys(PruneHistoryRequest.CodingKeys.self))
        #expect(try properties("Flaw") == keys(VerificationView.Flaw.CodingKeys.self))
        #expect(try properties("Kept") == keys(KeptView.CodingKeys.self))
        #expect(try properties("Cleanup") == keys(CleanupView.CodingKeys.self))
        #expect(try properties("Diagnosis") == keys(DiagnosisView.CodingKeys.self))
        #expect(try properties("Finding") == keys(FindingView.CodingKeys.self))
        let kinds = try #require(try schema("Finding")["properties"] as? [String: [String: Any]])
        #expect(kinds["kind"]?["enum"] as? [String] == Finding.Kind.allCases.map(\.rawValue))
        #expect(kinds["severity"]?["enum"] as? [String] == Finding.Severity.allCases.map(\.rawValue))
        #expect(try properties("Batch") == keys(BatchView.CodingKeys.self))
        #expect(try properties("SubmitBatch") == keys(BatchRequest.CodingKeys.self))
        #expect(try properties("BatchSelection") == keys(BatchRequest.Selection.CodingKeys.self))
        #expect(try properties("RetryBatch") == keys(RetryBatchRequest.CodingKeys.self))
        #expect(try properties("BatchPlan") == keys(BatchPlanView.CodingKeys.self))
        #expect(try properties("BatchMove") == keys(BatchPlanView.Move.CodingKeys.self))
        #expect(try properties("Queue") == keys(QueueView.CodingKeys.self))
        #expect(try properties("SetQueueLimits") == keys(QueueLimitsRequest.CodingKeys.self))
        #expect(try schema("BatchStatus")["enum"] as? [String] == BatchStatus.allCases.map(\.rawValue))
        #expect(try properties("CreateServer") == keys(CreateServerRequest.CodingKeys.self))
        #expect(try properties("CreateDisk") == keys(DiskRequest.CodingKeys.self))
        #expect(try properties("CreateNIC") == keys(NICRequest.CodingKeys.self))
        #expect(try properties("StopServer") == keys(StopServerRequest.CodingKeys.self))
        #expect(try properties("LiveMigrate") == keys(LiveMigrateRequest.CodingKeys.self))
        #expect(try properties("Migrate") == keys(MigrateRequest.CodingKeys.self))
        #expect(try properties("SetLiveMigrateParams") == keys(SetLiveMigrateParamsRequest.CodingKeys.self))
        #expect(try properties("RegisterHost") == keys(RegisterHostRequest.CodingKeys.self))
        #expect(try properties("ForecastMigration") == keys(ForecastRequest.CodingKeys.self))
        #expect(try properties("Forecast") == keys(ForecastView.CodingKeys.self))
        #expect(try properties("Candidate") == keys(CandidateView.CodingKeys.self))
        #expect(try properties("Rejection") == keys(RejectionView.CodingKeys.self))
        #expect(try properties("Estimate") == keys(EstimateView.CodingKeys.self))
        #expect(try properties("Group") == keys(GroupView.CodingKeys.self))
        #expect(try properties("GroupMember") == keys(GroupView.MemberView.CodingKeys.self))
        #expect(try properties("CreateGroup") == keys(CreateGroupRequest.CodingKeys.self))
        #expect(try properties("GroupServer") == keys(GroupServerRequest.CodingKeys.self))
        #expect(try properties("LimitHost") == keys(HostLimitsRequest.CodingKeys.self))
        #expect(try schema("ServerStatus")["enum"] as? [String] == ShownStatus.allCases.map(\.rawValue))
        #expect(try schema("MigrationState")["enum"] as? [String] == MigrationState.allCases.map(\.rawValue))
    }

    /// Every field of a request that the document lists is taken, and none beside them: `known are …` of the refusal is the proof.
    @Test(arguments: [
        ("/v1/servers", "CreateServer", #""name": "x", "#), ("/v1/servers/s/stop", "StopServer", ""),
        ("/v1/servers/s/live-migrate", "LiveMigrate", ""), ("/v1/servers/s/migrate", "Migrate", ""),
        ("/v1/servers/s/set-live-migrate-params", "SetLiveMigrateParams", ""),
        ("/v1/servers/s/migrate-forecast", "ForecastMigration", ""),
        ("/v1/server-groups", "CreateGroup", #""name": "x", "policy": "apart", "#),
        ("/v1/server-groups/g/servers", "GroupServer", #""server": "x", "#),
        ("/v1/batches", "SubmitBatch", ""), ("/v1/batches/plan", "SubmitBatch", ""), ("/v1/batches/b/retry", "RetryBatch", ""),
        ("/v1/migrations/m/prune-history", "PruneHistory", "\"archive\": \"x\", "),
        ("/v1/hosts", "RegisterHost", #""name": "x", "agent_url": "https://a:1", "#),
    ])
    func `requests take exactly the documented fields`(path: String, name: String, valid: String) async throws {
        try await Fixture.with(hosts: []) { fixture in
            let problem = try await fixture.ask(.post, path, "{\(valid)\"zzz\": 1}").problem
            let known = try #require(problem.detail.split(separator: "known are ").last?.dropLast().split(separator: ", "))
            #expect(Set(known.map(String.init)) == (try properties(name)))
        }
    }

    @Test func `what is answered has every field that the document requires`() async throws {
        try await Fixture.with { fixture in
            try await fixture.server("web1", running: true)
            let migration = try await fixture.ask(.post, "/v1/servers/web1/live-migrate")
            let id = try migration.decode(MigrationView.self).id
            for (path, name) in [
                ("/v1/servers/web1", "Server"), ("/v1/hosts/host1", "Host"), ("/v1/migrations/\(id)", "Migration"), ("/healthz", "Health"),
                ("/v1/servers/nosuch", "Problem"), ("/v1/migrations", "Page"),
            ] {
                let reply = try await fixture.ask(.get, path)
                let object = try #require(try JSONSerialization.jsonObject(with: reply.body) as? [String: Any])
                let required = Set(try #require(try schema(name)["required"] as? [String]))
                #expect(required.subtracting(object.keys) == [], "\(path)")
                #expect(Set(object.keys).subtracting(try properties(name)) == [], "\(path)")
            }
        }
    }

    /// Every parameter of a list that the document has is taken, and none beside them.
    @Test(arguments: [
        "/v1/servers", "/v1/hosts", "/v1/migrations", "/v1/batches", "/v1/history", "/v1/history/statistics", "/v1/history/verification",
        "/v1/history/prunable",
    ])
    func `lists take exactly the documented parameters`(path: String) async throws {
        try await Fixture.with(hosts: []) { fixture in
            let document = try document()
            let paths = try #require(document["paths"] as? [String: [String: Any]])
            let operation = try #require(paths[path]?["get"] as? [String: Any])
            let shared = try #require((document["components"] as? [String: Any])?["parameters"] as? [String: [String: Any]])
            let documented = try (operation["parameters"] as? [[String: Any]] ?? []).map { parameter in
                let reference = (parameter["$ref"] as? String)?.split(separator: "/").last.map(String.init)
                return try #require((reference.map { shared[$0] } ?? parameter)?["name"] as? String)
            }
            let problem = try await fixture.ask(.get, "\(path)?zzz=1").problem
            let known = try #require(problem.detail.split(separator: "known are ").last?.dropLast().split(separator: ", "))
            #expect(known.map(String.init).sorted() == documented.sorted())
        }
    }
}
