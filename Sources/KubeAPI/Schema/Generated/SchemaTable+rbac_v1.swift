// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// rbac/v1: 12 types.
    static var rbac_v1: StaticString {
#"""
AggregationRule clusterRoleSelectors:[meta/v1.LabelSelector:1:oA
ClusterRole ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o rules:[PolicyRule:2:A aggregationRule:AggregationRule:3:op
ClusterRoleBinding ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o subjects:[Subject:2:oA roleRef:RoleRef:3:rX
ClusterRoleBindingList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ClusterRoleBinding:2:r
ClusterRoleList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[ClusterRole:2:r
PolicyRule verbs:[s:1:rA apiGroups:[s:2:oA resources:[s:3:oA resourceNames:[s:4:oA nonResourceURLs:[s:5:oA
Role ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o rules:[PolicyRule:2:A
RoleBinding ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o subjects:[Subject:2:oA roleRef:RoleRef:3:rX
RoleBindingList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[RoleBinding:2:r
RoleList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Role:2:r
RoleRef apiGroup:s:1::d="rbac.authorization.k8s.io" kind:s:2:r name:s:3:r
Subject kind:s:1:r apiGroup:s:2:o name:s:3:r namespace:s:4:o
"""#
    }
}
