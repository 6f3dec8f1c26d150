import Client
import Foundation
import Hummingbird
import Testing

@testable import Controller

struct TokenTests {
    @Test func `only a known token is let in, and the open paths need none`() async throws {
        try await Fixture.with { fixture in
            for token in [nil, "", "wrong", Fixture.token + "x", String(Fixture.token.dropLast()), "sesame-sesame-sesamE"] as [String?] {
                for path in ["/v1/servers", "/v1/nothing", "/healthz/x"] {
                    let reply = try await fixture.ask(.get, path, token: token)
                    #expect(reply.status == 401)
                    #expect(reply.headers[.wwwAuthenticate] == "Bearer")
                    #expect(try reply.problem.code == "unauthorized")
                }
            }
            #expect(try await fixture.ask(.get, "/v1/servers").status == 200)
            #expect(try await fixture.ask(.get, "/v1/servers", token: "open-open-open-open").status == 200)
            let health = try await fixture.ask(.get, "/healthz", token: nil)
            #expect(try health.decode(HealthView.self) == HealthView(status: "ok", controller: "c1"))
            #expect(try await fixture.ask(.get, "/openapi.json", token: nil).status == 200)
        }
    }

    @Test func `a token belongs to the name before it`() throws {
        let tokens = try BearerTokens(text: "alice  4f1c4f1c4f1c4f1c\n# nobody 0000000000000000\n\n9999999999999999\r\n")
        #expect(tokens.owner(authorization: "Bearer 4f1c4f1c4f1c4f1c") == "alice")
        #expect(tokens.owner(authorization: "bearer 9999999999999999") == "operator")
        #expect(tokens.owner(authorization: "Bearer 0000000000000000") == nil)
        #expect(tokens.owner(authorization: "Basic 4f1c4f1c4f1c4f1c") == nil)
        #expect(tokens.owner(authorization: "4f1c4f1c4f1c4f1c") == nil)
        #expect(tokens.owner(authorization: nil) == nil)
    }

    @Test(arguments: ["", "\n# only words\n", "short", "alice bob 4f1c4f1c4f1c4f1c"])
    func `a token file that lets nobody in, or is not understood, is refused`(text: String) {
        #expect(throws: Problem.self) { try BearerTokens(text: text) }
    }
}
