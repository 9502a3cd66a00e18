// Made by hack/gen-schema/gen.py: change its inputs, not this file.
// swift-format-ignore-file

extension SchemaTable {
    /// Sorted: type or type#field, tab, a sentence.
    static var descriptions: StaticString {
#"""

"""#
    }
}
