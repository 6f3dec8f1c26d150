/// `POST /v1/hosts/{ref}/auto-migrate-on-host-down`: what is left out (nil) stays as it is.
package struct AutoMigrateRequest: Hashable, Sendable, Codable {
    /// In climc's words.
    package enum Switch: String, Hashable, Sendable, Codable, CaseIterable {
        case enable, disable
    }

    package var onHostDown: Switch?
    package var onHostShutdown: Switch?

    package init(onHostDown: Switch? = nil, onHostShutdown: Switch? = nil) {
        self.onHostDown = onHostDown
        self.onHostShutdown = onHostShutdown
    }

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case onHostDown = "auto_migrate_on_host_down"
        case onHostShutdown = "auto_migrate_on_host_shutdown"
    }
}
