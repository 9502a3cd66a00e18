// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// storagemigration/v1beta1: 5 types.
    static var storagemigration_v1beta1: StaticString {
#"""
MigrationConditionType =
StorageVersionMigration ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1:o spec:StorageVersionMigrationSpec:2:o status:StorageVersionMigrationStatus:3:o
StorageVersionMigrationList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[StorageVersionMigration:2:r
StorageVersionMigrationSpec resource:meta/v1.GroupResource:1:r
StorageVersionMigrationStatus conditions:[meta/v1.Condition:1:oM+:k=type;g=type resourceVersion:s:2:o
"""#
    }
}
