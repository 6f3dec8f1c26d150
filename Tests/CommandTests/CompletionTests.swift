import ArgumentParser
import Foundation
import Testing

@testable import godwit

@Suite struct CompletionTests {
    @Test(arguments: [CompletionShell.bash, .zsh, .fish])
    func `a script serves both names and every command`(shell: CompletionShell) {
        let script = CompletionScript.text(for: shell)
        #expect(script.contains("godwit") && script.contains("climc"))
        for command in ["server-live-migrate", "server-migrate", "migration-cancel", "host-list", "completion"] {
            #expect(script.contains(command))
        }
    }

    @Test func `each shell is told of the other name in its own way`() {
        #expect(CompletionScript.both("complete -F _godwit godwit", for: .bash, name: "godwit").hasSuffix("-F _godwit climc\n"))
        let zsh = CompletionScript.both("#compdef climc\nelse\n    compdef _climc climc\nfi", for: .zsh, name: "climc")
        #expect(zsh == "#compdef climc godwit\nelse\n    compdef _climc climc godwit\nfi\n")
        let fish = CompletionScript.both("complete -c 'godwit' -f", for: .fish, name: "godwit")
        #expect(fish == "complete -c 'godwit' -f\ncomplete -c 'climc' -f\n")
    }
}
