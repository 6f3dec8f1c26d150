import Testing

/// Gives a suite one fleet of hosts in namespaces for all of its tests, which run one after the other.
struct NetFleetTrait: SuiteTrait, TestScoping {
    let hosts: Int
    let leaseMS: Int64?

    func provideScope(for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void) async throws {
        try await NetFleet.run(hosts: hosts, leaseMS: leaseMS) { fleet in
            try await NetFleet.$current.withValue(fleet) { try await function() }
        }
    }
}

extension Trait where Self == NetFleetTrait {
    /// - Parameter leaseMS: how long a worker's claim lasts unless renewed; the product's own when left out.
    static func netFleet(hosts: Int, leaseMS: Int64? = nil) -> Self { NetFleetTrait(hosts: hosts, leaseMS: leaseMS) }
}

extension NetFleet {
    @TaskLocal static var current: NetFleet?

    /// Runs the body of one test on its suite's fleet and brings that back to where it began.
    static func test(_ body: @Sendable (NetFleet) async throws -> Void) async throws {
        guard let fleet = current else { throw Failure("the suite has no fleet: give it .netFleet(hosts:)") }
        do {
            try await body(fleet)
        } catch {
            fleet.tell()
            try await fleet.restore()
            throw error
        }
        try await fleet.restore()
    }
}
