// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// discovery/v1: 9 types.
    static var discovery_v1: StaticString {
#"""
AddressType =FQDN
Endpoint addresses:[s:1:rS conditions:EndpointConditions:2:o hostname:s:3:op targetRef:core/v1.ObjectReference:4:opX deprecatedTopology:{s:5:o nodeName:s:6:op zone:s:7:op hints:EndpointHints:8:op
EndpointConditions ready:b:1:op serving:b:2:op terminating:b:3:op
EndpointHints forZones:[ForZone:1:oA forNodes:[ForNode:2:oA
EndpointPort name:s:1:op:d="" protocol:=core/v1.Protocol:2:op:d="TCP" port:i:3:op appProtocol:s:4:op
EndpointSlice ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o addressType:=AddressType:4:r endpoints:[Endpoint:2:A ports:[EndpointPort:3:A
EndpointSliceList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[EndpointSlice:2:r
ForNode name:s:1:r
ForZone name:s:1:r
"""#
    }
}
