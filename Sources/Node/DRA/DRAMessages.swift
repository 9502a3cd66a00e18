/// What the kubelet says to drivers of dynamic resource allocation, in the form of `ProtobufTable`; kept per driver.
/// Source: k8s.io/kubelet/pkg/apis/dra/v1/api.proto; v1beta1 has the same messages.
enum DRAMessages {
    static let table = """
        PrepareRequest claims=1*:Claim
        PrepareResponse claims=1*:Prepared
        Prepared key=1s value=2:PreparedClaim
        PreparedClaim devices=1*:Device error=2s
        Device request_names=1*s pool_name=2s device_name=3s cdi_device_ids=4*s
        UnprepareResponse claims=1*:Unprepared
        Unprepared key=1s value=2:UnpreparedClaim
        UnpreparedClaim error=1s
        Claim namespace=1s uid=2s name=3s
        """

    /// Versions in the order of preference: as drivers register them, and the service of each.
    static let services = [
        ("v1.DRAPlugin", "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"),
        ("v1beta1.DRAPlugin", "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin"),
    ]
}
