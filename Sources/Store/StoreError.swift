/// Why the store refused or failed.
package struct StoreError: Error, Sendable, CustomStringConvertible {
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        package let description: String

        init(_ description: String) { self.description = description }

        /// No such server, host or migration.
        package static let notFound = Code("not-found")
        /// The name is taken.
        package static let nameTaken = Code("name-taken")
        /// The beginning of an id stands for more than one thing; the message lists them.
        package static let ambiguous = Code("ambiguous")
        /// The token of a submit was used for another one.
        package static let tokenTaken = Code("token-taken")
        /// The server has an unfinished migration, or an operation under way.
        package static let busy = Code("busy")
        /// The server's status does not allow it.
        package static let wrongStatus = Code("wrong-status")
        /// A rescue: the host is neither proven dead nor vouched for as off.
        package static let hostNotDown = Code("host-not-down")
        /// A rescue: a disk is local to the host that would be left.
        package static let localDisk = Code("local-disk")
        /// The caller no longer holds what it writes about: a newer epoch exists. Its transaction changed nothing.
        package static let superseded = Code("superseded")
        /// The host has not the room any more that it had when it was chosen.
        package static let overbooked = Code("overbooked")
        /// The database is of a newer version of Godwit, or not Godwit's.
        package static let incompatible = Code("incompatible")
        /// The change would break a rule that the database keeps, such as the order of the states: a defect of the caller.
        package static let invalid = Code("invalid")
        /// The database cannot be reached or written now.
        package static let unavailable = Code("unavailable")
    }

    package let code: Code
    package let message: String
    package let cause: (any Error)?

    package init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    package var description: String { cause.map { "\(code): \(message) (\($0))" } ?? "\(code): \(message)" }
}
