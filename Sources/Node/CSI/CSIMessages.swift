/// The node's half of the Container Storage Interface 1.12 (csi.proto), in the form of `ProtobufTable`; kept per driver.
enum CSIMessages {
    static let table = """
        Empty
        NodeGetInfoResponse node_id=1s max_volumes_per_node=2i accessible_topology=3:Topology
        Topology segments=1m
        NodeGetCapabilitiesResponse capabilities=1*:NodeServiceCapability
        NodeServiceCapability rpc=1:RPC
        RPC type=1i
        VolumeCapability block=1:Empty mount=2:MountVolume access_mode=3:AccessMode
        MountVolume fs_type=1s mount_flags=2*s volume_mount_group=3s
        AccessMode mode=1i
        NodeStageVolumeRequest volume_id=1s publish_context=2m staging_target_path=3s \
            volume_capability=4:VolumeCapability secrets=5m volume_context=6m
        NodeUnstageVolumeRequest volume_id=1s staging_target_path=2s
        NodePublishVolumeRequest volume_id=1s publish_context=2m staging_target_path=3s target_path=4s \
            volume_capability=5:VolumeCapability readonly=6b secrets=7m volume_context=8m
        NodeUnpublishVolumeRequest volume_id=1s target_path=2s
        NodeGetVolumeStatsRequest volume_id=1s volume_path=2s staging_target_path=3s
        NodeGetVolumeStatsResponse usage=1*:VolumeUsage
        VolumeUsage available=1i total=2i used=3i unit=4i
        NodeExpandVolumeRequest volume_id=1s volume_path=2s capacity_range=3:CapacityRange staging_target_path=4s \
            volume_capability=5:VolumeCapability secrets=6m
        CapacityRange required_bytes=1i limit_bytes=2i
        NodeExpandVolumeResponse capacity_bytes=1i
        """
}

/// `NodeServiceCapability.RPC.Type`
enum CSICapability: Int64 {
    case stage = 1
    case stats = 2
    case expand = 3
    case singleNodeMultiWriter = 5
    case mountGroup = 6
}
