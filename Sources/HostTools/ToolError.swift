/// What a tool ends with: an exit code and the words for standard error.
package struct ToolError: Error, Equatable {
    package var code: Int32
    package var text: String
    /// The original prints its version before it.
    var isVersioned: Bool
    /// Without the line of the input, which the text names itself.
    var isPlain: Bool

    init(_ code: Int32, _ text: String, isVersioned: Bool? = nil, isPlain: Bool = false) {
        (self.code, self.text, self.isPlain) = (code, text, isPlain)
        self.isVersioned = isVersioned ?? (code != 1)
    }
}
