/// What a host is but for figures: hosts of one kind are fit, or unfit, for the same servers, so that a filter asks a kind once and not each of
/// thousands of hosts. It stands for the content by 128 bits of a hash of this process, and means nothing outside of it.
package struct HostKind: Hashable, Sendable {
    private let high: Int
    private let low: Int

    /// Of all that a filter reads of ``HostFacts`` and that is no figure.
    package init(_ facts: HostFacts) {
        var hasher = Hasher()
        hasher.combine(facts.architecture)
        hasher.combine(facts.cpuModel)
        hasher.combine(facts.microcode)
        hasher.combine(facts.kernel)
        hasher.combine(facts.pageSizeBytes)
        hasher.combine(facts.qemuVersion)
        hasher.combine(facts.accelerator)
        hasher.combine(facts.networks)
        hasher.combine(facts.storages.count)
        for storage in facts.storages {
            hasher.combine(storage.name)
            hasher.combine(storage.kind)
        }
        hasher.combine(facts.machineTypes)
        hasher.combine(facts.guestCPUModels)
        hasher.combine(facts.hasUEFI)
        hasher.combine(facts.hasTPM)
        var other = hasher
        other.combine(true)
        high = hasher.finalize()
        low = other.finalize()
    }
}
