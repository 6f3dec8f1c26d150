import Client
import Fleet
import Foundation
import HTTPTypes
import Store
import Testing

@testable import Controller

/// What failed attempts left on hosts, as the API tells it.
struct KeptTests {
    @Test func `is listed by host, and what is not there cannot be deleted`() async throws {
        try await Fixture.with { fixture in
            let store = fixture.store
            let host = try #require(try await store.hosts().first { $0.name == "host1" })
            var facts = try #require(host.facts)
            facts.kept = [
                KeptGuest(
                    id: "s-m-1", server: "s", name: "web1", migration: "m", attempt: 1, reason: Reason(.targetLost, "QEMU died"),
                    keptAt: .now, bytes: 4096, folders: ["/var/lib/godwit/.kept-s-m-1"])
            ]
            try await store.recordHealth(of: host.id, facts: facts, validForMS: 60_000)
            for path in ["/v1/kept", "/v1/kept?host=host1"] {
                let page = try await fixture.ask(.get, path).decode(Page<KeptView>.self)
                #expect(page.items.map(\.id) == ["s-m-1"])
                #expect(page.items.first?.server.name == "web1")
                #expect(page.items.first?.reason.code == .targetLost)
            }
            #expect(try await fixture.ask(.get, "/v1/kept?host=nosuch").problem.status == 404)
            #expect(try await fixture.ask(.delete, "/v1/hosts/host1/kept/other").problem.status == 404)
            #expect(try await fixture.ask(.delete, "/v1/hosts/nosuch/kept/s-m-1").problem.status == 404)
        }
    }
}
