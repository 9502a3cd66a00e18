import Testing

@testable import HostTools

@Suite struct BlockSizeTests {
    @Test(arguments: [
        ("512", 512), ("1K", 1024), ("2M", 2 << 20), ("KB", 1000), ("KiB", 1024), ("3k", 3072), ("1G", 1 << 30),
        ("'1", 1),
    ])
    func units(_ text: String, _ bytes: UInt64) throws { #expect(try BlockSize(text).unit == bytes) }

    @Test(arguments: [
        ("", BlockSize.Failure.invalid), ("x", .invalid), ("0", .invalid), ("-1", .invalid), ("1x", .suffix),
        ("1KX", .suffix), ("1KiBB", .suffix), ("99999999999999999999", .tooLarge), ("1Y", .tooLarge),
        ("9223372036854775808", .tooLarge),
    ])
    func whatIsNoSizeSaysWhy(_ text: String, _ failure: BlockSize.Failure) {
        #expect(throws: failure) { try BlockSize(text) }
    }

    @Test(arguments: [("-10K", -10240, true), ("+5", 5, false), ("-0", 0, true), ("7", 7, false)])
    func signedNumbers(_ text: String, _ value: Int64, _ isNegative: Bool) throws {
        let number = try BlockSize.number(text[...], isSigned: true)
        #expect(number.value == value && number.isNegative == isNegative)
    }

    @Test(
        arguments: [
            (0, "0"), (1, "1"), (1023, "1023"), (1024, "1.0K"), (1025, "1.1K"), (10239, "10K"), (10240, "10K"),
            (10241, "11K"), (1 << 20, "1.0M"), ((1 << 20) - 1, "1.0M"), (.max, "16E"),
        ] as [(UInt64, String)])
    func humanSizesAreRoundedUp(_ bytes: UInt64, _ text: String) { #expect(BlockSize.human.text(bytes) == text) }

    @Test func blocksAreRoundedUp() throws {
        #expect(BlockSize(unit: 1024).text(1025) == "2")
        #expect(try BlockSize("M").text(1) == "1M")
        #expect(try BlockSize("KB").text(1001) == "2kB")
    }

    @Test func theEnvironmentCountsWhereNothingIsSaid() {
        let variables = ["DU_BLOCK_SIZE": "1M"]
        #expect(BlockSize.standard(["DU_BLOCK_SIZE", "BLOCK_SIZE"]) { variables[$0] }.unit == 1 << 20)
        #expect(BlockSize.standard(["BLOCKSIZE"]) { _ in "junk" }.unit == 1024)
        #expect(BlockSize.standard([]) { $0 == "POSIXLY_CORRECT" ? "1" : nil }.unit == 512)
    }
}
