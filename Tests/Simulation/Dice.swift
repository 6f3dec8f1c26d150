/// A seed's randomness (SplitMix64): the same draws for the same seed on every machine.
struct Dice: RandomNumberGenerator {
    private(set) var state: UInt64

    init(seed: UInt64) {
        state = seed &* 0x9E37_79B9_7F4A_7C15 ^ 0xD1B5_4A32_D192_ED03
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to, and without, the bound.
    mutating func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int(next() >> 33) % bound }

    /// A number of the range.
    mutating func within(_ range: ClosedRange<Int64>) -> Int64 {
        range.lowerBound + Int64(next() >> 2) % (range.upperBound - range.lowerBound + 1)
    }

    /// True with so many chances in 10,000.
    mutating func hits(_ chances: Int) -> Bool { chances > 0 && below(10_000) < chances }
}
