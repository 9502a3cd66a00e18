/// What a layer may cost before it is refused as a decompression bomb.
package struct LayerLimits: Sendable {
    /// Uncompressed bytes of the tar stream.
    package var bytes: Int64 = 64 << 30
    package var entries = 2_000_000
    /// Space that must stay free on the file system for everybody else.
    package var freeBytes: Int64 = 64 << 20
    /// zstd windows up to 2^25 bytes: what `zstd --long=25` of k3s's own air-gap archives needs. Ordinary frames want
    /// 8 MiB or less and take only what they want.
    package var zstdWindowLog: Int32 = 25
    package init() {}
}
