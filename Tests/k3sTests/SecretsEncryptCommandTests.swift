import Codecs
import Testing

@testable import k3s

@Suite struct SecretsEncryptCommandTests {
    @Test func statusIsPrintedAsTheOriginalDoes() {
        let status: JSON = [
            "stage": "rotate", "activekey": "AES-CBC aescbckey-2026-01-01T00:00:00Z", "enable": true, "hashmatch": true,
            "inactivekeys": ["AES-CBC aescbckey"],
        ]
        #expect(
            SecretsEncryptCommand.text(status) == """
                Encryption Status: Enabled
                Current Rotation Stage: rotate
                Server Encryption Hashes: All hashes match

                Active  Key Type  Name
                ------  --------  ----
                 *      AES-CBC   aescbckey-2026-01-01T00:00:00Z
                        AES-CBC   aescbckey

                """)
    }

    @Test func withoutAConfiguration() {
        #expect(
            SecretsEncryptCommand.text(["stage": "", "activekey": ""])
                == "Encryption Status: Disabled, no configuration file found")
    }

    @Test func serversThatDifferAreTold() {
        let status: JSON = [
            "stage": "start", "activekey": "", "enable": false, "hasherror": "hash does not match between a and b",
        ]
        let lines = SecretsEncryptCommand.text(status).split(separator: "\n")
        #expect(lines[0] == "Encryption Status: Disabled")
        #expect(lines[2] == "Server Encryption Hashes: hash does not match between a and b")
    }
}
