package import QMP

/// The features of a CPU that a guest sees, told from the other properties that QEMU's CPU models have.
package enum CPUFeatures {
    /// What is switched on in a model and not in the one without any feature (`base`), under one spelling: QEMU knows some of them by
    /// several (`sse4.1`, `sse4-1`, `sse4_1`).
    package static func offered(by model: CPUModel, beyond base: CPUModel) -> [String] {
        let plain = enabled(base)
        return enabled(model).subtracting(plain).subtracting(properties).sorted()
    }

    /// Those of `wanted` that are not among `offered`.
    package static func missing(_ wanted: [String], from offered: [String]) -> [String] {
        Set(wanted.map(spelled)).subtracting(offered.map(spelled)).sorted()
    }

    /// Properties of the model rather than features of the CPU.
    private static let properties: Set<String> = ["migratable", "pmu", "host-cache-info", "enforce", "check"]

    private static func enabled(_ model: CPUModel) -> Set<String> {
        Set((model.props ?? [:]).filter { $0.value == .bool(true) }.keys.map(spelled))
    }

    private static func spelled(_ name: String) -> String {
        String(name.map { $0 == "_" || $0 == "." ? "-" : $0 })
    }
}
