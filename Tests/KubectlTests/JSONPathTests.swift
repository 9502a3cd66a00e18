import Codecs
import Testing

@testable import Kubectl

@Suite struct JSONPathTests {
    private let list: JSON = [
        "items": [
            ["name": "a", "n": 1, "tags": ["x", "y"], "map": ["k.l": "v"]], ["name": "b", "n": 2, "tags": []],
        ]
    ]

    @Test(arguments: [
        ("{.items[*].name}", "a b"), ("{.items[0].tags[-1]}", "y"), ("{.items[?(@.n>1)].name}", "b"),
        ("{range .items[*]}{.name}{\"\\n\"}{end}", "a\nb\n"), ("{.items[?(@.name=='a')].map}", "{\"k.l\":\"v\"}"),
        ("{.items[0].map['k.l']}{.items[0].map.k\\.l}", "vv"), ("n={..n}", "n=1 2"), ("{.items[0:1].name}", "a"),
        ("{.nothing}", ""), ("{.items[0]['name','n']}", "a 1"), ("{$.items[1].n}", "2"),
    ])
    func aTemplateGives(_ template: String, _ text: String) throws {
        #expect(try JSONPath(template).text(list) == text)
    }

    @Test(arguments: ["{.items[*]", "{end}", "{range .items[*]}x", "{.items[?(@.n)}", "{.items[abc]}", "{\"open}"])
    func whatIsNoTemplateIsRefused(_ template: String) {
        #expect(throws: CommandError.self) { try JSONPath(template) }
    }

    @Test func anIndexOutsideIsAnError() throws {
        let path = try JSONPath("{.items[7]}")
        #expect(throws: JSONPath.Failure.self) { try path.text(list) }
    }
}
