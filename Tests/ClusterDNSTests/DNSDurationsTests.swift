import Testing

@testable import ClusterDNS

@Suite struct DNSDurationsTests {
    @Test func bucketsCountWhatTookNoLonger() {
        var durations = DNSDurations()
        durations.add(1, times: 3)
        durations.add(250_000)
        durations.add(250_001)
        durations.add(8_192_000_000)
        durations.add(60_000_000_000)
        durations.add(5, times: 0)
        let buckets = durations.cumulative
        #expect(buckets.count == 17)
        #expect(buckets[0] == ("0.00025", 4))
        #expect(buckets[1] == ("0.0005", 5))
        #expect(buckets[14] == ("4.096", 5))
        #expect(buckets[15] == ("8.192", 6))
        #expect(buckets[16] == ("+Inf", 7))
        #expect(durations.count == 7)
        #expect(abs(durations.seconds - 68.192500004) < 1e-6)
    }
}
