/// Body of `POST /v1/hosts/{host}/maintenance`; nil takes the default.
package struct MaintenanceRequest: Hashable, Sendable, Codable {
    /// Its servers are migrated elsewhere.
    package var drain: Bool?

    package init(drain: Bool? = nil) {
        self.drain = drain
    }
}
