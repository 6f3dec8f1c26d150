import Fleet
import Steps
import Testing

@Suite struct RemedyTests {
    @Test func `what the target is to blame for is tried elsewhere`() {
        for code in [Reason.Code.targetLost, .diskFull, .memoryShort, .incompatibleCPU, .incompatibleQEMU, .stalled] {
            for end in [Remedies.End.source, .target] { #expect(Remedies.remedy(for: code, told: end) == .otherTarget) }
        }
        #expect(Remedies.remedy(for: .qemuError, told: .target) == .otherTarget)
        #expect(Remedies.remedy(for: .qemuError, told: .source) == .sameTarget)
    }

    @Test func `what no host can mend is not tried again`() {
        for code in [Reason.Code.guestStopped, .didNotConverge, .cancelled, .noHost, .invalidRequest] {
            #expect(Remedies.remedy(for: code, told: .source) == .none)
        }
    }
}
