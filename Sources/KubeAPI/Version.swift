/// What this program says it is. Clients choose behaviour by the Kubernetes version, so it is that of the API served.
package enum Version {
    package static let major = "1"
    package static let minor = "36"
    package static let kubernetes = "v1.36.4"
    /// As k3s names its releases.
    package static let git = "v1.36.4+k3s1"
}
