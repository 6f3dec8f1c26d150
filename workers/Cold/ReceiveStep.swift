import AgentAPI
import Engine
import Fleet
import Steps
import Store

/// Has the target copy the server's files and compare them with the source, until all of them are there.
struct ReceiveStep: Step {
    static let name = "receive"
    var name: String { Self.name }
    let states: Set<MigrationState> = [.syncingDisk, .switching]
    let ground: Ground

    func perform(_ context: StepContext) async throws -> StepResult {
        let description = try await ground.store.server(context.server.value).description
        let source = try await ground.source(context).host
        let target = try await ground.target(context)
        let known = try context.output(of: name, as: CopyFollowing.Output.self)
        var following = CopyFollowing(
            ground: ground, context: context, source: source, target: target, output: known ?? CopyFollowing.Output())
        try await following.run(
            ReceiveOrder(
                epoch: context.epoch, key: context.key, description: description, source: source.name,
                sourceAgentURL: source.agentURL, bandwidth: context.bandwidth, enableTLS: context.migration.options.enableTLS))
        var result = try StepResult(
            output: following.output, event: context.migration.state == .syncingDisk ? .disksSynced : nil)
        result.numbers = Self.numbers(following.output.report)
        result.progress = following.progress
        return result
    }

    private static func numbers(_ receipt: ReceiptReport?) -> [String: Int64] {
        guard let receipt else { return [:] }
        var numbers = [
            "files": Int64(receipt.files), "diskBytes": receipt.bytesTotal, "wireBytes": receipt.bytesFetched,
            "verifiedBytes": receipt.bytesVerified, "repairedChunks": receipt.chunksRepaired,
        ]
        numbers["copyMS"] = receipt.copyMS
        return numbers
    }

    /// What ``perform(_:)`` found out, as numbers.
    @Sendable static func figures(_ context: StepContext) throws -> [String: Int64] {
        numbers(try context.output(of: name, as: CopyFollowing.Output.self)?.report)
    }

    func compensate(_ context: StepContext) async throws -> Compensation { try await CopyFollowing.giveUp(context, ground) }
}
