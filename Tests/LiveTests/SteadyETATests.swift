import Fleet
import Steps
import Testing

@Suite struct SteadyETATests {
    @Test func `never grows, whatever the rates do`() {
        var eta = SteadyETA(told: nil)
        var last = Int64.max
        var random = SystemRandomNumberGenerator()
        for step in 0..<200 {
            let done = Int64(step) * 5
            let progress = Progress(diskTotal: 1000, diskDone: done, rate: Int64.random(in: 0...200, using: &random))
            if let next = eta.next(progress, memoryBytes: 500) {
                #expect(next <= last)
                last = next
            }
        }
        #expect(last < .max)
    }

    @Test func `counts what is left over the rate, the guest's writing taken off`() {
        var disk = SteadyETA(told: nil)
        #expect(disk.next(Progress(diskTotal: 1000, diskDone: 500, rate: 100), memoryBytes: 500) == 10_000)
        var memory = SteadyETA(told: nil)
        #expect(
            memory.next(Progress(memoryTotal: 1000, memoryRemaining: 600, rate: 100, dirtyRate: 40), memoryBytes: 1000) == 10_000)
        var hopeless = SteadyETA(told: nil)
        #expect(hopeless.next(Progress(memoryTotal: 1000, memoryRemaining: 600, rate: 100, dirtyRate: 140), memoryBytes: 1000) == nil)
    }

    @Test func `goes on from what the worker before told`() {
        var eta = SteadyETA(told: 3000)
        #expect(eta.next(Progress(diskTotal: 1000, diskDone: 0, rate: 100), memoryBytes: 0) == 3000)
        #expect(eta.next(Progress(diskTotal: 1000, diskDone: 900, rate: 100), memoryBytes: 0) == 1000)
    }
}
