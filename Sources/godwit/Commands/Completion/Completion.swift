import ArgumentParser
import Output

struct Completion: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print a shell's completion script, for the name godwit and for a link named climc.",
        usage: Usage.line("completion", [], "bash|zsh|fish"),
        discussion: """
            bash: source <(godwit completion bash), in ~/.bashrc
            zsh:  godwit completion zsh > DIR/_godwit, DIR being one of $fpath
            fish: godwit completion fish > ~/.config/fish/completions/godwit.fish

            Names of servers and hosts are asked of the controller of GODWIT_URL, GODWIT_TOKEN and GODWIT_CACERT while you type.
            """)

    @Argument(help: "bash, zsh or fish.", completion: .list(Shell.allCases.map(\.rawValue)))
    var shell: Shell

    enum Shell: String, CaseIterable, ExpressibleByArgument {
        case bash, zsh, fish
    }

    func run() {
        let shell: CompletionShell =
            switch shell {
            case .bash: .bash
            case .zsh: .zsh
            case .fish: .fish
            }
        Terminal.output.write(CompletionScript.text(for: shell))
    }
}
