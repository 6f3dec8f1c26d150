/// What may be done to a guest so that its memory gets across: the part of ``MigrationOptions`` that the source's agent goes by.
package struct ConvergenceRules: Hashable, Sendable, Codable {
    /// See ``MigrationOptions/downtimeLimitMS``.
    package var downtimeLimitMS: Int64
    package var quicklyFinish: Bool
    package var maxDowntimeMS: Int64
    package var autoConverge: Bool
    package var postCopy: Bool

    package init(
        downtimeLimitMS: Int64 = 300, quicklyFinish: Bool = false, maxDowntimeMS: Int64 = 5000, autoConverge: Bool = true,
        postCopy: Bool = false
    ) {
        self.downtimeLimitMS = downtimeLimitMS
        self.quicklyFinish = quicklyFinish
        self.maxDowntimeMS = maxDowntimeMS
        self.autoConverge = autoConverge
        self.postCopy = postCopy
    }

    package init(_ options: MigrationOptions) {
        self.init(
            downtimeLimitMS: options.downtimeLimitMS, quicklyFinish: options.quicklyFinish, maxDowntimeMS: options.maxDowntimeMS,
            autoConverge: options.autoConverge, postCopy: options.postCopy)
    }
}
