/// What a flag or a file says and cannot mean, in one sentence that names the field.
struct InputError: Error, Equatable, CustomStringConvertible {
    let message: String

    init(_ message: String) {
        self.message = message
    }

    var description: String { message }
}
