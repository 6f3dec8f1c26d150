import AgentAPI
import AgentFakes
import Fleet

/// Hosts that share a storage, as far as a rescue can tell.
struct World: FakeWorld {
    struct Node: FakeNode {
        var epoch = Epoch.none
        var silentCalls = 0
        /// `adopt` is answered so once.
        var problems: [String: AgentProblem] = [:]
        /// The server is defined here; adopted under this key.
        var adopted: AttemptKey?
        /// The server's guest runs here.
        var isRunning = false
        var refused: Set<AttemptKey> = []
        /// Its next adoption takes effect and is not answered, and nothing is from then on.
        var diesAdopting = false
        /// Whom the last adoption took for possible owners.
        var owners: [String] = []

        /// Its agent answers.
        var isUp: Bool {
            get { silentCalls == 0 }
            set { silentCalls = newValue ? 0 : .max }
        }
    }

    var nodes: [String: Node] = [:]

    func check() {}
}
