import ArgumentParser
import Client

/// Which part of the history is asked about.
struct HistoryOptions: ParsableArguments {
    @OptionGroup var selection: MigrationSelection

    @Option(help: "Only of this migration (id or its beginning).", completion: Completions.migrations)
    var migration: String?

    var query: HistoryQuery {
        HistoryQuery(
            server: selection.server, host: selection.host, migration: migration, batch: selection.batch, states: selection.states,
            modes: selection.modes, reasons: selection.reasons, actor: selection.actor, since: selection.since, until: selection.until)
    }
}
