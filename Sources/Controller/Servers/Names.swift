import Client

/// What servers, hosts and groups may be called.
enum Names {
    /// - Throws: ``Problem`` `invalid-request` with the field.
    static func check(_ name: String, field: String) throws {
        func isAlphanumeric(_ character: Character) -> Bool { character.isASCII && (character.isLetter || character.isNumber) }
        guard name.utf8.count <= 63, name.allSatisfy({ isAlphanumeric($0) || "-._".contains($0) }), name.first.map(isAlphanumeric) == true
        else {
            throw Problem.invalid(
                field, "\(field) is “\(name)”; it must be 1 to 63 letters, digits, “-”, “_” or “.”, beginning with a letter or digit.")
        }
    }
}
