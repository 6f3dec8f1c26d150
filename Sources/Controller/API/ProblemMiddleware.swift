import Client
import Hummingbird
import Logging

/// Turns whatever a handler throws into a problem (RFC 9457), so that no refusal is without its sentence.
struct ProblemMiddleware: RouterMiddleware {
    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch {
            if let problem = Problem(error) { return try .problem(problem) }
            context.logger.error("a request failed", metadata: ["path": "\(request.uri.path)", "error": "\(error)"])
            return try .problem(
                Problem(status: 500, code: "internal", "The controller met an error that it does not know; its log names it."))
        }
    }
}
