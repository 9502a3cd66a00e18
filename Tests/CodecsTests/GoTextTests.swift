import Testing

@testable import Codecs

@Suite struct GoTextTests {
    @Test func durationsAreGoDurations() {
        for (text, nanoseconds) in [
            ("1h15m30.918s", 4_530_918_000_000), ("-1.5h", -5_400_000_000_000), ("100ms", 100_000_000), ("0", 0),
            ("1us", 1000),
        ] as [(String, Int64)] {
            #expect(GoDuration.parse(text) == nanoseconds)
        }
        for text in ["", "1", "h", "1x", ".s", "99999999999h", "1..5s", "--1s", "1h 2m"] {
            #expect(GoDuration.parse(text) == nil, "\(text)")
        }
        #expect(GoDuration.text(4_530_918_000_000) == "1h15m30.918s")
        #expect(GoDuration.text(-60_000_000_000) == "-1m0s")
        #expect(GoDuration.text(1_500_000) == "1.5ms")
        #expect(GoDuration.text(3_600_000_000_000) == "1h0m0s")
        #expect(GoDuration.text(seconds: 31_535_992) == "8759h59m52s" && GoDuration.text(seconds: -90) == "-1m30s")
        #expect(GoDuration.text(seconds: 300) == "5m0s" && GoDuration.text(seconds: 0) == "0s")
    }

    @Test func agesAreShortened() {
        let long: [Int64] = [-5, -1, 5, 119, 120, 605, 11000, 90000, 200_000, 800_000, 86400 * 800, 86400 * 4000]
        #expect(
            long.map(HumanDuration.text) == [
                "<invalid>", "0s", "5s", "119s", "2m", "10m", "3h3m", "25h", "2d7h", "9d", "2y70d", "10y",
            ])
        let short: [Int64] = [59, 3600, -1, -5, 86400 * 400]
        #expect(short.map(HumanDuration.short) == ["59s", "1h", "0s", "<invalid>", "1y"])
    }

    @Test func quotedTextHasEscapes() {
        #expect(GoText.quoted("a\"b\\c\n\r\t\u{1}\u{7F}ü") == #""a\"b\\c\n\r\t\x01\x7fü""#)
    }
}
