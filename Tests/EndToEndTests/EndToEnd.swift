import Testing

/// Everything on real processes and real QEMU. One after the other: each runs several QEMUs under software emulation.
@Suite(.serialized, .timeLimit(.minutes(60)))
struct EndToEnd {}
