import COpenSSL

/// The one form that nearly all our private keys have: SEC 1, curve P-256, with the public key; 121 bytes of which 24
/// are always the same. OpenSSL 3.0's general decoder takes half a millisecond per key, and five times that on a small
/// board, where a server start reads twenty.
enum P256KeyForm {
    private static let start: [UInt8] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20]
    private static let middle: [UInt8] = [
        0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0xA1, 0x44, 0x03, 0x42, 0x00,
    ]
    private static let privateBytes = 32
    private static let publicBytes = 65
    /// EVP_PKEY_KEYPAIR, a macro that Swift cannot see: private and public key and all parameters.
    private static let wholeKey: Int32 = 0x87

    /// The key, or nil if the DER has another form.
    static func read(_ der: [UInt8]) -> OpaquePointer? {
        let secret = start.count
        let point = secret + privateBytes + middle.count
        guard der.count == point + publicBytes, der.starts(with: start),
            der[(secret + privateBytes)..<point].elementsEqual(middle)
        else { return nil }
        defer { ERR_clear_error() }
        let context = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil)
        defer { EVP_PKEY_CTX_free(context) }
        // Native byte order is what the parameter wants.
        let number = BN_bin2bn(Array(der[secret..<(secret + privateBytes)]), Int32(privateBytes), nil)
        defer { BN_clear_free(number) }
        var native = [UInt8](repeating: 0, count: privateBytes)
        defer { OPENSSL_cleanse(&native, native.count) }
        guard BN_is_zero(number) == 0, BN_bn2nativepad(number, &native, Int32(privateBytes)) > 0 else { return nil }
        var group = Array("prime256v1".utf8CString)
        var encodedPoint = Array(der[point...])
        var key: OpaquePointer?
        let code = group.withUnsafeMutableBufferPointer { group in
            encodedPoint.withUnsafeMutableBufferPointer { encodedPoint in
                native.withUnsafeMutableBufferPointer { native in
                    var parameters = [
                        OSSL_PARAM_construct_utf8_string(name("group"), group.baseAddress, 0),
                        OSSL_PARAM_construct_octet_string(name("pub"), encodedPoint.baseAddress, encodedPoint.count),
                        OSSL_PARAM_construct_BN(name("priv"), native.baseAddress, native.count),
                        OSSL_PARAM_construct_end(),
                    ]
                    guard EVP_PKEY_fromdata_init(context) == 1 else { return Int32(0) }
                    return EVP_PKEY_fromdata(context, &key, wholeKey, &parameters)
                }
            }
        }
        return code == 1 ? key : nil
    }

    /// A parameter keeps the pointer to its name: one to a `String` would be gone by then.
    private static func name(_ name: StaticString) -> UnsafePointer<CChar> {
        UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)
    }

    /// The DER of a key on P-256.
    static func write(_ key: OpaquePointer) -> [UInt8]? {
        var point = [UInt8](repeating: 0, count: publicBytes)
        var length = 0
        guard EVP_PKEY_get_octet_string_param(key, "pub", &point, point.count, &length) == 1, length == publicBytes,
            point[0] == 4
        else { return nil }
        var number: OpaquePointer?
        guard EVP_PKEY_get_bn_param(key, "priv", &number) == 1 else { return nil }
        defer { BN_clear_free(number) }
        var secret = [UInt8](repeating: 0, count: privateBytes)
        defer { OPENSSL_cleanse(&secret, secret.count) }
        guard BN_bn2binpad(number, &secret, Int32(privateBytes)) == Int32(privateBytes) else { return nil }
        return start + secret + middle + point
    }
}
