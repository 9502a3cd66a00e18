// What the static binary leaves out of OpenSSL.
//
// libcrypto's default provider has a table of every algorithm there is, and so a static program gets them all: DES, Camellia,
// ARIA, SM2 to SM4, BLAKE2, Kerberos' key derivation and so on. The linker takes a member of libcrypto.a only for a symbol
// that nobody has defined: here they are, without functions. Asked for one of these algorithms, OpenSSL says "unsupported".
// TLS 1.2 and 1.3, X.509, JWTs, encryption at rest, password hashes and keys in PEM files need none of them.
//
// The names are those of OpenSSL 3.0 (providers/defltprov.c, crypto/evp/c_allc.c, crypto/engine); only the Makefile's build
// of the product, which links libcrypto.a, defines K3S_STATIC_LINK. With another version nothing is left out.
#ifdef K3S_STATIC_LINK
#include <openssl/core.h>
#include <openssl/evp.h>
#include <openssl/opensslv.h>

#if OPENSSL_VERSION_MAJOR == 3 && OPENSSL_VERSION_MINOR == 0

#define NONE(name) const OSSL_DISPATCH ossl_##name##_functions[] = {{0, 0}};
#define SIZES(name, mode) NONE(name##128##mode) NONE(name##192##mode) NONE(name##256##mode)

// Ciphers
#define BLOCK_MODES(name) \
    SIZES(name, cbc) SIZES(name, cfb) SIZES(name, cfb1) SIZES(name, cfb8) SIZES(name, ctr) SIZES(name, ecb) SIZES(name, ofb)
BLOCK_MODES(aria) SIZES(aria, ccm) SIZES(aria, gcm)
BLOCK_MODES(camellia) SIZES(camellia, cbc_cts)
NONE(sm4128cbc) NONE(sm4128cfb128) NONE(sm4128ctr) NONE(sm4128ecb) NONE(sm4128ofb128)
NONE(tdes_ede2_cbc) NONE(tdes_ede2_cfb) NONE(tdes_ede2_ecb) NONE(tdes_ede2_ofb)
NONE(tdes_ede3_cbc) NONE(tdes_ede3_cfb) NONE(tdes_ede3_cfb1) NONE(tdes_ede3_cfb8) NONE(tdes_ede3_ecb) NONE(tdes_ede3_ofb)
NONE(tdes_wrap_cbc)
SIZES(aes, siv) SIZES(aes, ocb) SIZES(aes, ccm) SIZES(aes, wrap) SIZES(aes, wrappad) SIZES(aes, wrapinv) SIZES(aes, wrappadinv)
NONE(aes128xts) NONE(aes256xts)
NONE(aes128cbc_hmac_sha1) NONE(aes256cbc_hmac_sha1) NONE(aes128cbc_hmac_sha256) NONE(aes256cbc_hmac_sha256)
int ossl_cipher_capable_aes_cbc_hmac_sha1(void) { return 0; }
int ossl_cipher_capable_aes_cbc_hmac_sha256(void) { return 0; }

// Digests, MACs, key derivation, random numbers
NONE(sm3) NONE(blake2b512) NONE(blake2s256) NONE(ripemd160)
NONE(sha3_224) NONE(sha3_256) NONE(sha3_384) NONE(sha3_512) NONE(shake_128) NONE(shake_256)
NONE(keccak_kmac_128) NONE(keccak_kmac_256)
NONE(blake2bmac) NONE(blake2smac) NONE(kmac128) NONE(kmac256) NONE(siphash) NONE(gmac) NONE(cmac)
NONE(kdf_kbkdf) NONE(kdf_krb5kdf) NONE(kdf_sshkdf) NONE(kdf_sskdf) NONE(kdf_x963_kdf) NONE(kdf_x942_kdf) NONE(kdf_pkcs12)
NONE(drbg_hash) NONE(drbg_ossl_hmac) NONE(test_rng)

// Signatures and encryption with keys that nobody has here
NONE(dsa_signature) NONE(sm2_signature) NONE(sm2_asym_cipher) NONE(rsa_asym_kem)

// The tables by which algorithms are found by name without a provider.
void openssl_add_all_ciphers_int(void) {
    EVP_add_cipher(EVP_aes_128_cbc());
    EVP_add_cipher(EVP_aes_192_cbc());
    EVP_add_cipher(EVP_aes_256_cbc());
    EVP_add_cipher(EVP_aes_128_gcm());
    EVP_add_cipher(EVP_aes_256_gcm());
    EVP_add_cipher(EVP_chacha20_poly1305());
}

void openssl_add_all_digests_int(void) {
    EVP_add_digest(EVP_md5());
    EVP_add_digest(EVP_md5_sha1());
    EVP_add_digest(EVP_sha1());
    EVP_add_digest(EVP_sha224());
    EVP_add_digest(EVP_sha256());
    EVP_add_digest(EVP_sha384());
    EVP_add_digest(EVP_sha512());
}

// Engines: hardware that is reached through plug-ins, which a static program cannot load.
void engine_load_padlock_int(void) {}
void engine_load_dynamic_int(void) {}
void engine_load_afalg_int(void) {}
void engine_load_openssl_int(void) {}

#endif
#endif
