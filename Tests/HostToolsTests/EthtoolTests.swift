import Testing

@testable import HostTools

@Suite struct EthtoolTests {
    private func features(_ active: UInt32, requested: UInt32? = nil, available: UInt32 = 0x1f) -> EthtoolFeatures {
        EthtoolFeatures(
            names: [
                "tx-checksum-ipv4", "tx-checksum-ip-generic", "tx-scatter-gather", "rx-gro", "highdma", "",
            ],
            blocks: [
                EthtoolFeatures.Block(
                    available: available, requested: requested ?? active, active: active, neverChanged: 0)
            ])
    }

    @Test func namesOfOldStandForSeveral() {
        let lines = features(0b01010, available: 0b01111).lines
        #expect(
            lines == [
                "tx-checksumming: on", "\ttx-checksum-ipv4: off", "\ttx-checksum-ip-generic: on", "scatter-gather: off",
                "generic-receive-offload: on", "highdma: off [fixed]",
            ])
        #expect(features(0).members("tx") == [0, 1])
        #expect(features(0).members("rx-gro") == [3] && features(0).members("gro") == [3])
        #expect(features(0).members("nosuch") == [] && features(0).members("") == [])
    }

    @Test func whatWasAskedForInVainIsSaid() {
        #expect(features(0, requested: 0b1000).lines.contains("generic-receive-offload: off [requested on]"))
    }

    @Test func onlySurprisesAreListed() {
        #expect(EthtoolFeatures.changes(features(0), features(0b1000), wanted: [3: true]) == [])
        #expect(
            EthtoolFeatures.changes(features(0), features(0b1010), wanted: [3: true])
                == ["tx-checksum-ip-generic: on [not requested]", "rx-gro: on"])
        #expect(
            EthtoolFeatures.changes(features(0), features(0), wanted: [3: true]) == ["rx-gro: off [requested on]"])
    }

    /// Answers may be shorter than what they say.
    @Test func shortAnswers() {
        #expect(EthtoolRequest.word([1, 0, 0], 0) == 0 && EthtoolRequest.word([1, 0, 0, 0], 1) == 0)
        #expect(EthtoolRequest.word([], -4) == 0 && EthtoolRequest.long([0, 0, 0, 0], 0) == 0)
        #expect(EthtoolRequest.text([97, 98, 0, 99], 0, 32) == "ab" && EthtoolRequest.text([97], 5, 3) == "")
    }
}
