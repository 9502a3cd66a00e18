import Testing

@testable import Kubectl

@Suite struct TabTextTests {
    @Test func columnsAreAsWideAsTheirWidestCell() {
        #expect(TabText.table([["NAME", "AGE"], ["longer-name", "1m"]]) == "NAME          AGE\nlonger-name   1m\n")
        #expect(TabText.table([["A", "B"], ["x", "y"]]) == "A     B\nx     y\n")
    }

    @Test func aLineWithoutTheColumnEndsItsBlock() {
        #expect(
            TabText.described("a:\t1\nlong-name:\t2\nplain\nb:\t3\n") == "a:          1\nlong-name:  2\nplain\nb:  3\n")
    }

    @Test func agesAreShortened() {
        #expect(
            [5, 119, 120, 605, 11000, 90000, 200_000, 800_000].map(GoSpan.human) == [
                "5s", "119s", "2m", "10m", "3h3m", "25h", "2d7h", "9d",
            ])
        #expect(GoSpan.seconds("1h30m") == 5400)
        #expect(GoSpan.seconds("5x") == nil)
    }

    @Test func fieldsGetLabels() {
        #expect(
            ["apiVersion", "creationTimestamp", "uid", "k8s.io/x", "podCIDRs"].map(DescribeText.label).prefix(4) == [
                "API Version", "Creation Timestamp", "UID", "k8s.io/x",
            ])
    }
}
