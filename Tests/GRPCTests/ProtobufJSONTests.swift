import Codecs
import Testing

@testable import GRPC

@Suite struct ProtobufJSONTests {
    private let table = """
        Item id=1s log_path=2s state=3i size_bytes=4u exit_code=5i big_list=6*i labels=7m part=8:Part parts=9*:Part \
        is_on=10b raw=11y CDI_devices=12*s
        Part ok=1b
        """

    private func form() throws -> ProtobufJSON {
        ProtobufJSON(
            try ProtobufTable(table), enumerations: "Item.state,Other.state STATE_A STATE_B\n", narrow: "Item.exit_code"
        )
    }

    @Test func whatIsNotSetIsThereButMessages() throws {
        let json = try form().encode("Item", [:])
        #expect(
            String(decoding: json.encode(), as: UTF8.self)
                == #"{"id":"","logPath":"","state":"STATE_A","sizeBytes":"0","exitCode":0,"bigList":[],"labels":{},"#
                + #""parts":[],"isOn":false,"raw":"","CDIDevices":[]}"#)
    }

    @Test func numbersOf64BitsAreStrings() throws {
        let json = try form().encode(
            "Item",
            ["size_bytes": 7, "exit_code": -3, "big_list": [1, 2], "state": 1, "part": [:], "parts": [["ok": true]]])
        #expect(json["sizeBytes"] == "7" && json["exitCode"] == -3 && json["bigList"] == ["1", "2"])
        #expect(json["state"] == "STATE_B" && json["part"] == ["ok": false] && json["parts"] == [["ok": true]])
        // One that nobody has named.
        #expect(try form().encode("Item", ["state": 9])["state"] == 9)
    }

    @Test func documentsAreReadAsGoReadsThem() throws {
        let table = try ProtobufTable(table)
        let known = table.known("Item", ["ID": "x", "Log_Path": "y", "other": 1, "parts": [["OK": true, "no": 1]]])
        #expect(known == ["id": "x", "log_path": "y", "parts": [["ok": true]]])
        #expect(table.known("Item", "text") == "text" && table.known("Nothing", [:]).isNull)
    }
}
