import AgentAPI
import Client
import Fleet
import Hummingbird
import Store

extension Problem {
    /// 400: a value that cannot be taken. `field` is a path in the body or the name of a query parameter.
    static func invalid(_ field: String?, _ detail: String) -> Problem {
        Problem(status: 400, code: "invalid-request", detail, field: field)
    }

    static func notFound(_ detail: String, field: String? = nil) -> Problem {
        Problem(status: 404, code: "not-found", detail, field: field)
    }

    /// 409: the thing is not in a condition for it.
    static func conflict(_ code: String, _ detail: String, field: String? = nil) -> Problem {
        Problem(status: 409, code: code, detail, field: field)
    }

    init(status: Int, code: String, _ detail: String, field: String? = nil) {
        self.init(status: status, code: code, title: Self.title(of: code), detail: detail, field: field)
    }

    private static func title(of code: String) -> String {
        switch code {
        case "invalid-request": "The request is not valid"
        case "unauthorized": "No valid token"
        case "not-found": "Not found"
        case "method-not-allowed": "Method not allowed"
        case "unsupported-media-type": "The body must be JSON"
        case "too-large": "The body is too large"
        case "name-taken": "The name is taken"
        case "ambiguous": "The name stands for more than one"
        case "busy": "Something else is under way"
        case "wrong-status": "The server's status does not allow it"
        case "superseded": "Overtaken by something newer"
        case "overbooked", "no-host": "No host has the room"
        case "host-offline": "The host does not answer"
        case "unreachable": "The host's agent gave no answer"
        case "store-unavailable": "The store does not answer"
        case "internal": "A defect of Godwit"
        case "same-host": "The server is there already"
        case "host-not-down": "The host is not known to be off"
        case "local-disk": "A disk is local to the host"
        case "invalid-lines": "Lines of the batch cannot be taken"
        case "token-taken": "The token was used for something else"
        case "nothing-failed": "Nothing is to be tried again"
        case "not-migrating": "No migration is under way"
        case "not-live": "The migration is not live"
        case "finished": "The migration is over"
        default: "The host could not do it"
        }
    }
}

// MARK: from errors

extension Problem {
    /// Any error of a handler; nil for one that is a defect or unknown here.
    init?(_ error: any Error) {
        switch error {
        case let problem as Problem: self = problem
        case let error as StoreError: self.init(error)
        case let refusal as BatchRefusal: self.init(refusal)
        case let problem as AgentProblem: self.init(problem)
        case let error as any HTTPResponseError: self.init(error)
        default: return nil
        }
    }

    private init(_ error: StoreError) {
        switch error.code {
        case .notFound: self.init(status: 404, code: "not-found", error.message)
        case .nameTaken, .tokenTaken, .ambiguous, .busy, .wrongStatus, .superseded, .overbooked, .hostNotDown, .localDisk:
            self.init(status: 409, code: error.code.description, error.message)
        case .unavailable: self.init(status: 503, code: "store-unavailable", error.message)
        default: self.init(status: 500, code: "internal", error.message)
        }
    }

    private init(_ refusal: BatchRefusal) {
        let count = refusal.flaws.count
        let remedy = count == refusal.lines ? "" : ", or give skip_invalid (--skip-invalid) to leave them out"
        self.init(
            status: 422, code: "invalid-lines",
            "\(count) of \(refusal.lines) lines cannot be taken, and nothing was; mend them\(remedy).", field: "servers")
        lines = refusal.flaws
    }

    private init(_ problem: AgentProblem) {
        let (code, message) = (problem.reason.code.value, problem.reason.message.asSentence)
        switch problem.kind {
        // What the request named on the host (an image, a machine type) could only be judged there.
        case .invalid: self.init(status: 422, code: code, message)
        case .failed where problem.reason.code == .invalidRequest: self.init(status: 422, code: code, message)
        case .notFound: self.init(status: 404, code: code, message)
        case .staleEpoch, .owned, .conflict: self.init(status: 409, code: code, message)
        case .unreachable: self.init(status: 504, code: "unreachable", message)
        case .forbidden, .failed: self.init(status: 502, code: code, message)
        }
    }

    private init(_ error: any HTTPResponseError) {
        switch error.status {
        case .notFound:
            self.init(status: 404, code: "not-found", "There is no such path here; /openapi.json lists them all.")
        case .contentTooLarge:
            self.init(status: 413, code: "too-large", "The body is larger than a request may be (1 MiB, 16 MiB for a batch).")
        default:
            self.init(status: error.status.code, code: "invalid-request", "The request was refused: \(error).")
        }
    }
}

extension String {
    /// With a capital at its beginning and a full stop at its end.
    var asSentence: String {
        prefix(1).uppercased() + dropFirst() + (last.map { ".!?".contains($0) } == true ? "" : ".")
    }
}
