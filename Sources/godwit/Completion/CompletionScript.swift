import ArgumentParser

/// A shell's completion script that serves both names of the program.
enum CompletionScript {
    /// - Parameter shell: bash, zsh or fish.
    static func text(for shell: CompletionShell) -> String {
        both(Godwit.completionScript(for: shell), for: shell, name: Godwit.program)
    }

    /// Registers a script that was generated for one name for the other one, too.
    static func both(_ script: String, for shell: CompletionShell, name: String) -> String {
        let other = name == "climc" ? "godwit" : "climc"
        switch shell {
        case .bash:
            // The function calls the program by the name that was typed.
            return "\(script)\ncomplete -o filenames -F _\(name) \(other)\n"
        case .zsh:
            return script.replacing("#compdef \(name)\n", with: "#compdef \(name) \(other)\n")
                .replacing("compdef _\(name) \(name)\n", with: "compdef _\(name) \(name) \(other)\n") + "\n"
        default:
            // fish compares the typed words with the name all over the script.
            return "\(script)\n\(script.replacing(name, with: other))\n"
        }
    }
}
