// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// events/v1: 3 types.
    static var events_v1: StaticString {
#"""
Event ^:meta/v1.TypeMeta:0: metadata:meta/v1.ObjectMeta:1: eventTime:m:2:r series:EventSeries:3:op reportingController:s:4:o reportingInstance:s:5:o action:s:6:o reason:s:7:o regarding:core/v1.ObjectReference:8:oX related:core/v1.ObjectReference:9:opX note:s:10:o type:s:11:o deprecatedSource:core/v1.EventSource:12:o deprecatedFirstTimestamp:t:13:o deprecatedLastTimestamp:t:14:o deprecatedCount:i:15:o
EventList ^:meta/v1.TypeMeta:0: metadata:meta/v1.ListMeta:1:o items:[Event:2:r
EventSeries count:i:1:r lastObservedTime:m:2:r
"""#
    }
}
