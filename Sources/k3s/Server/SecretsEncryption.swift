import Linux
import Store
import Transport

/// `--secrets-encryption`: the configuration file in `<data-dir>/server/cred`, made with a new key when it is missing.
///
/// Without the flag nothing new is encrypted, but what the file's keys have encrypted stays readable.
enum SecretsEncryption {
    static func prepare(_ serverDirectory: String, provider: String?) throws -> (any ValueCipher)? {
        let path = serverDirectory + "/cred/encryption-config.json"
        do {
            var bytes = try Files.readIfPresent(path)
            if bytes == nil, let provider {
                let made = try EncryptionConfiguration.generate(provider)
                try Directories.make(serverDirectory + "/cred", mode: 0o700)
                try Files.writeAtomically(path, made, mode: 0o600)
                bytes = made
            }
            guard let bytes else { return nil }
            return Cipher(configuration: try EncryptionConfiguration(bytes, path: path), writes: provider != nil)
        } catch {
            throw StartupError("--secrets-encryption: \(error)")
        }
    }

    private struct Cipher: ValueCipher {
        let configuration: EncryptionConfiguration
        let writes: Bool

        func seal(_ value: [UInt8], key: String) throws -> [UInt8] {
            writes ? try configuration.seal(value, key: key) : value
        }
        func open(_ sealed: [UInt8], key: String) throws -> [UInt8] { try configuration.open(sealed, key: key) }
    }
}
