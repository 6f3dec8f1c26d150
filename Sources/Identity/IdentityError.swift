/// Why a certificate could not be made, read or kept.
package struct IdentityError: Error, Hashable, Sendable, CustomStringConvertible {
    /// A short, stable word.
    package struct Code: Hashable, Sendable, CustomStringConvertible {
        package let value: String

        package var description: String { value }

        /// A name, address or span of time that no certificate can carry.
        package static let invalidRequest = Code(value: "invalid-request")
        /// A file that is missing, unreadable, or no PEM of what it should hold.
        package static let unreadable = Code(value: "unreadable")
        /// A file that could not be written.
        package static let unwritable = Code(value: "unwritable")
        /// A file is there already and was not overwritten.
        package static let exists = Code(value: "exists")
        /// The certificate and the key of an authority do not belong together.
        package static let mismatch = Code(value: "mismatch")
    }

    package let code: Code
    /// A whole sentence for a person.
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package var description: String { message }
}
