import ArgumentParser
import Failpoints
import Output

struct FailpointList: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failpoints", abstract: "List the places at which a debug build can be made to fail.",
        discussion: """
            GODWIT_FAILPOINTS='NAME=ACTION;…' in the environment of a controller, worker or agent has the action happen the first time that \
            the process reaches the place: fail, kill (SIGKILL to itself), delay:MILLISECONDS, hold. With GODWIT_FAILPOINTS_FOLDER=DIR a \
            file DIR/NAME that holds an action is taken by the first process that gets there, which renames it to NAME.taken; one that \
            holds writes its pid to NAME.held and goes on when that file is gone, or after a minute. Release builds have none of this.
            """)

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let names = Failpoint.all.map(\.name)
        let table = Table(["Failure_point"], rows: names.map { [$0] })
        try output.output.print(names, table: table.text + Table.footer(total: names.count, shown: names.count) + "\n")
        if !Failpoints.areBuiltIn { Terminal.error.write("This build has none of them: it was built for release.\n") }
    }
}
