import CLibPQ
import Glibc
import SQL

/// How a database is reached: a connection string of libpq's, with what Godwit asks for wherever string and environment are silent.
struct PostgresSettings: Sendable {
    /// URI or `keyword=value` pairs, as in libpq's manual.
    let text: String
    /// What it sets.
    private let options: [String: String]

    /// - Throws: ``SQLError`` `connection` where libpq does not understand it.
    init(_ text: String) throws(SQLError) {
        self.text = text
        options = try Self.options(of: text)
    }

    /// Without anything secret, for messages.
    var shown: String {
        func list(_ keyword: String) -> [String] {
            (options[keyword] ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let hosts = options["host"] == nil ? list("hostaddr") : list("host")
        let ports = list("port")
        let places = hosts.enumerated().map { index, host in
            let port = ports.count == 1 ? ports[0] : index < ports.count ? ports[index] : ""
            return host.hasPrefix("/") || port.isEmpty ? host : "\(host):\(port)"
        }
        return "postgres://\(places.joined(separator: ","))/\(options["dbname"] ?? "")"
    }

    /// What every session sets. A transaction whose client has vanished (its host lost power, its network was cut) lets go of its locks.
    static let session = [
        "SET lock_timeout = '10s'", "SET statement_timeout = '60s'", "SET idle_in_transaction_session_timeout = '20s'",
        "SET tcp_keepalives_idle = 5", "SET tcp_keepalives_interval = 2", "SET tcp_keepalives_count = 4", "SET tcp_user_timeout = '13s'",
        "SET bytea_output = 'hex'", "SET client_min_messages = 'warning'", "SET default_transaction_isolation = 'read committed'",
    ]

    /// Where neither the string nor libpq's environment says otherwise: a host that does not answer is given up soon, on the way there
    /// and later on, and of several the one is taken that can be written to.
    private static let defaults: [(keyword: String, variable: String?, value: String)] = [
        ("connect_timeout", "PGCONNECT_TIMEOUT", "5"), ("target_session_attrs", "PGTARGETSESSIONATTRS", "read-write"),
        ("keepalives_idle", nil, "5"), ("keepalives_interval", nil, "2"), ("keepalives_count", nil, "4"),
        ("tcp_user_timeout", nil, "13000"), ("fallback_application_name", nil, "godwit"),
    ]

    /// Opens a session and puts it into the non-blocking pipeline mode. Waits for names to be looked up and for the server, so that it is
    /// called on a thread that may wait.
    func connect() throws(SQLError) -> sending OpaquePointer {
        let isService = options["service"] != nil || getenv("PGSERVICE") != nil
        // A later keyword beats an earlier one: what the string says beats the defaults, and nothing beats the encoding.
        var pairs: [(String, String)] = []
        for (keyword, variable, value) in Self.defaults where !isService && variable.map({ getenv($0) == nil }) ?? true {
            pairs.append((keyword, value))
        }
        pairs += [("dbname", text), ("client_encoding", "UTF8")]
        let keywords = pairs.map { strdup($0.0) } + [nil]
        let values = pairs.map { strdup($0.1) } + [nil]
        defer { for copy in keywords + values { free(copy) } }
        guard let handle = PQconnectdbParams(keywords.map { $0.map { UnsafePointer($0) } }, values.map { $0.map { UnsafePointer($0) } }, 1)
        else {
            throw SQLError(.connection, "out of memory")
        }
        guard PQstatus(handle) == CONNECTION_OK, PQsetnonblocking(handle, 1) == 0, PQenterPipelineMode(handle) == 1 else {
            let message = String(cString: PQerrorMessage(handle)).trimmingSpaces.split(separator: "\n").joined(separator: "; ")
            PQfinish(handle)
            throw SQLError(.connection, message)
        }
        _ = PQsetNoticeProcessor(handle, { _, _ in }, nil)
        return handle
    }

    private static func options(of text: String) throws(SQLError) -> [String: String] {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(text, &message) else {
            defer { PQfreemem(message) }
            let told = message.map { String(cString: $0).trimmingSpaces } ?? "out of memory"
            throw SQLError(.connection, "the connection string is not one of PostgreSQL's: \(told)")
        }
        defer { PQconninfoFree(options) }
        var found: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { found[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return found
    }
}
