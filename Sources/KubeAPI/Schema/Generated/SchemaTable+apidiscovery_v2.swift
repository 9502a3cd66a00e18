// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// apidiscovery/v2: 7 types.
    static var apidiscovery_v2: StaticString {
#"""
APIGroupDiscovery ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o versions:[APIVersionDiscovery:2:oM:k=version
APIGroupDiscoveryList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[APIGroupDiscovery:2:r
APIResourceDiscovery resource:s:1:r responseKind:meta/v1.GroupVersionKind:2:op scope:=ResourceScope:3:r singularResource:s:4:r verbs:[s:5:rS shortNames:[s:6:oS categories:[s:7:oS subresources:[APISubresourceDiscovery:8:oM:k=subresource
APISubresourceDiscovery subresource:s:1:r responseKind:meta/v1.GroupVersionKind:2:op acceptedTypes:[meta/v1.GroupVersionKind:3:oM:k=group,version,kind verbs:[s:4:rS
APIVersionDiscovery version:s:1:r resources:[APIResourceDiscovery:2:oM:k=resource freshness:=DiscoveryFreshness:3:o
DiscoveryFreshness =
ResourceScope =
"""#
    }
}
