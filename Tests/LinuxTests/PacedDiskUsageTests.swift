import Linux
import Testing

@Suite("Walks at a pace") struct PacedDiskUsageTests {
    private final class Counter {
        var walks = 0
        let pause: UInt32
        init(pause: UInt32) { self.pause = pause }
        func walk(_ path: String, _ prefix: String) -> DiskUsage {
            walks += 1
            usleep(pause)
            var usage = DiskUsage()
            usage.files = Int64(walks)
            return usage
        }
    }

    @Test func anAnswerIsValidForAHundredTimesItsCost() throws {
        let (paced, counter) = (PacedDiskUsage(), Counter(pause: 20_000))
        func ask(_ seconds: Double) throws -> Int64 {
            try paced.measure("/a", now: Int64(seconds * 1e9), walk: counter.walk).files
        }
        #expect(try ask(0) == 1)
        // 20 ms at least, so two seconds.
        #expect(try ask(1.9) == 1)
        #expect(try paced.measure("/a", prefix: "0.log", now: 0, walk: counter.walk).files == 2)
        // Never older than a minute, however long it takes.
        #expect(try ask(60.1) == 3)
    }

    @Test func smallTreesAreWalkedAgainSoon() throws {
        let (paced, counter) = (PacedDiskUsage(), Counter(pause: 0))
        _ = try paced.measure("/a", longest: .zero, now: 0, walk: counter.walk)
        #expect(try paced.measure("/a", now: 1, walk: counter.walk).files == 2)
    }

    /// Memory is bounded: what is old goes, and where all is young nothing is kept.
    @Test func manyTreesAreNotAllKept() throws {
        let (paced, counter) = (PacedDiskUsage(), Counter(pause: 100))
        for index in 0..<1100 { _ = try paced.measure("/\(index)", now: 0, walk: counter.walk) }
        let before = counter.walks
        _ = try paced.measure("/1099", now: 0, walk: counter.walk)
        #expect(counter.walks == before + 1)
        _ = try paced.measure("/0", now: 0, walk: counter.walk)
        #expect(counter.walks == before + 1)
        _ = try paced.measure("/1099", now: 70_000_000_000, walk: counter.walk)
        _ = try paced.measure("/1099", now: 70_000_000_000, walk: counter.walk)
        #expect(counter.walks == before + 2)
    }
}
