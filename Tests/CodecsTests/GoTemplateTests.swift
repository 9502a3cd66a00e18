import Codecs
import Testing

@Suite struct GoTemplateTests {
    private let value: JSON = [
        "status": [
            "state": "CONTAINER_RUNNING", "id": "abc", "labels": ["b": "2", "a": "1"], "tags": ["x", "y", "z"],
        ],
        "info": ["pid": 42, "ready": true], "none": [],
    ]

    private func text(_ template: String) throws -> String { try GoTemplate(template).text(of: value) }

    @Test(arguments: [
        ("{{.info.pid}}", "42"),
        ("pid: {{ .info.pid }}\n", "pid: 42\n"),
        ("a {{- .info.pid -}} b", "a42b"),
        ("{{/* nothing */}}{{.status.id}}", "abc"),
        ("{{range .status.tags}}<{{.}}>{{end}}", "<x><y><z>"),
        ("{{range $k, $v := .status.labels}}{{$k}}={{$v}} {{end}}", "a=1 b=2 "),
        ("{{range $i, $t := .status.tags}}{{if $i}},{{end}}{{$t}}{{end}}", "x,y,z"),
        ("{{range .none}}some{{else}}none{{end}}", "none"),
        ("{{if eq .status.state \"CONTAINER_EXITED\"}}out{{else if .info.ready}}in{{else}}?{{end}}", "in"),
        ("{{with .info}}{{.pid}} {{$.status.id}}{{end}}", "42 abc"),
        ("{{index .status.labels \"a\"}}{{index .status.tags 2}}", "1z"),
        ("{{(index .status.tags 0) | upper}}", "X"),
        (
            "{{len .status.tags}} {{printf \"%s-%d|%5v|%-4q|\" .status.id .info.pid true \"q\"}}",
            "3 abc-42| true|\"q\" |"
        ),
        ("{{$x := .info.pid}}{{if and $x (gt $x 41) (not (lt $x 42))}}{{$x}}{{end}}", "42"),
        ("{{json .status.tags}}", "[\"x\",\"y\",\"z\"]\n"),
        ("{{.status.labels}} {{.status.tags}}", "map[a:1 b:2] [x y z]"),
        ("{{or .none \"other\"}}{{and false .missing.field}}", "otherfalse"),
    ])
    func templatesAreGos(_ template: String, _ expected: String) throws {
        #expect(try text(template) == expected)
    }

    @Test(arguments: [
        "{{.missing}}", "{{.info.pid.more}}", "{{if .info}}", "{{end}}", "{{", "{{(.info}}", "{{.info)}}",
        "{{nothing}}",
        "{{index .status.tags 3}}", "{{template \"x\"}}", "{{len}}", "{{$y}}", "{{if}}x{{end}}", "{{\"open}}", "{{#}}",
        "{{range .info.pid}}{{end}}", "{{/* open", "{{1 2}}", "{{.info |}}",
    ])
    func whatCannotBeFollowedIsAnError(_ template: String) {
        #expect(throws: GoTemplate.Failure.self) { _ = try text(template) }
    }

    @Test func depthIsBounded() {
        #expect(throws: GoTemplate.Failure.self) {
            _ = try text(String(repeating: "{{if 1}}", count: 1000) + String(repeating: "{{end}}", count: 1000))
        }
        #expect(throws: GoTemplate.Failure.self) { _ = try text("{{" + String(repeating: "(", count: 10_000)) }
    }
}
