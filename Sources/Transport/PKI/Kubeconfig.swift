import Codecs

/// Client configurations as text.
package enum Kubeconfig {
    /// The administrator's `k3s.yaml`: everything is in it, so that it can be copied to another machine.
    package static func embedded(server: String, ca: [UInt8], certificate: [UInt8], key: [UInt8]) -> String {
        """
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority-data: \(Base64.encode(ca))
            server: \(scalar(server))
          name: default
        contexts:
        - context:
            cluster: default
            user: default
          name: default
        current-context: default
        kind: Config
        users:
        - name: default
          user:
            client-certificate-data: \(Base64.encode(certificate))
            client-key-data: \(Base64.encode(key))

        """
    }

    /// A component's configuration, which names its files.
    package static func referring(server: String, caFile: String, certificateFile: String, keyFile: String) -> String {
        """
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority: \(scalar(caFile))
            server: \(scalar(server))
          name: local
        contexts:
        - context:
            cluster: local
            namespace: default
            user: user
          name: Default
        current-context: Default
        kind: Config
        users:
        - name: user
          user:
            client-certificate: \(scalar(certificateFile))
            client-key: \(scalar(keyFile))

        """
    }

    /// Plain if YAML reads it as the same string, else quoted (a JSON string is a YAML string).
    private static func scalar(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/._-:".utf8.contains(byte)
            }
        }
        let startsPlain = text.hasPrefix("/") || text.hasPrefix("https://") || text.hasPrefix("http://")
        return isPlain && startsPlain && !text.hasSuffix(":") ? text : JSON.string(text).text
    }
}
