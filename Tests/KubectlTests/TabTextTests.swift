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

    @Test func fieldsGetLabels() {
        #expect(
            ["apiVersion", "creationTimestamp", "uid", "k8s.io/x", "podCIDRs"].map(DescribeText.label).prefix(4) == [
                "API Version", "Creation Timestamp", "UID", "k8s.io/x",
            ])
    }
}
