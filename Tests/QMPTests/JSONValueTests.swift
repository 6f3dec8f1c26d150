import QMP
import Testing

@Suite struct `JSON values` {
    static let readable: [(String, JSONValue)] = [
        ("null", JSONValue.null), (" true\r\n", true), ("false", false), ("0", 0), ("-9223372036854775808", .integer(.min)),
        ("9223372036854775808", .unsigned(9_223_372_036_854_775_808)), ("18446744073709551615", .unsigned(.max)), ("1.0", .double(1)),
        ("-1.5e3", .double(-1500)), ("1E+2", .double(100)), ("36893488147419103232", .double(36_893_488_147_419_103_232)),
        (#""a\"\\\/\b\f\n\r\té€😀""#, "a\"\\/\u{8}\u{c}\n\r\té€😀"), (#""\u00e9\u20ac\ud83d\ude00""#, "é€😀"), ("[]", []), ("{}", [:]),
        (#"[1, [2, {"a": null}], "b"]"#, [1, [2, ["a": nil]], "b"]), (#"{"a": 1, "a": 2}"#, ["a": 2]),
    ]

    @Test(arguments: readable)
    func `reads what JSON allows`(text: String, value: JSONValue) throws {
        #expect(try JSONValue(parsing: text) == value)
    }

    @Test(arguments: [
        "", " ", "nul", "tru", "True", "{", "[", "[1,]", "[1 2]", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#, "{a:1}", "01", "-", "1.", ".5", "1e",
        "+1", "1e999",
        #"""#, #""\x""#, #""\u12""#, #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, "\"\u{1}\"", "1 2", "{}x", "garbage", "\u{feff}{}",
        String(repeating: "[", count: 100_000),
    ])
    func `refuses what JSON does not allow`(text: String) {
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: text) }
    }

    @Test func `refuses a string that is not UTF-8`() {
        #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: [0x22, 0xff, 0x22]) }
    }

    @Test func `tells where the text is wrong`() throws {
        let error = try #require(throws: JSONSyntaxError.self) { try JSONValue(parsing: #"{"a": [1, x]}"#) }
        #expect(error.offset == 10)
    }

    @Test(arguments: [
        JSONValue.null, true, -7, .unsigned(.max), .double(0.1), .double(1e300), "\u{0}\u{1f}\u{7f}\"\\/é😀\r\n", [], [:],
        ["b": [1, 2.5, nil], "a": ["c": "d"]],
    ])
    func `writes what it reads back`(value: JSONValue) throws {
        #expect(try JSONValue(parsing: value.serialized) == value)
        #expect(!value.serialized.contains(UInt8(ascii: "\n")), "one line, or it would be two messages")
    }

    @Test func `writes members in order and no number that JSON lacks`() {
        #expect(JSONValue.object(["b": 1, "a": .double(.nan)]).description == #"{"a":null,"b":1}"#)
    }

    @Test func `gives each value only by its own kind`() {
        let value: JSONValue = ["n": 1, "u": .unsigned(.max), "d": 1.5, "s": "x", "t": true, "z": nil, "l": [1, 2]]
        #expect(value["n"]?.int == 1)
        #expect(value["n"]?.uint64 == 1)
        #expect(value["n"]?.double == 1)
        #expect(value["n"]?.string == nil)
        #expect(value["u"]?.uint64 == .max)
        #expect(value["u"]?.int == nil)
        #expect(value["d"]?.double == 1.5)
        #expect(value["d"]?.int == nil)
        #expect(value["s"]?.string == "x")
        #expect(value["s"]?["x"] == nil)
        #expect(value["t"]?.bool == true)
        #expect(value["t"]?.int == nil)
        #expect(value["z"]?.isNull == true)
        #expect(value["absent"] == nil)
        #expect(value["l"]?[1] == 2)
        #expect(value["l"]?[2] == nil)
        #expect(value["l"]?[-1] == nil)
    }

    @Test func `has one case for a number`() {
        #expect(JSONValue(UInt64(5)) == .integer(5))
        #expect(JSONValue(UInt64.max) == .unsigned(.max))
    }

    @Test func `leaves out the members that are nil`() {
        let speed: Int? = nil
        #expect(JSONValue.members(["a": 1, "speed": speed.map { JSONValue($0) }]) == ["a": 1])
    }

    struct Sample: Codable, Equatable, Sendable {
        var name: String
        var bytes: UInt64
        var ratio: Double
        var nested: [Sample]?
        var free: JSONValue
    }

    @Test func `goes to and from Codable types without loss`() throws {
        let sample = Sample(
            name: "é", bytes: .max, ratio: 0.25,
            nested: [Sample(name: "", bytes: 0, ratio: 2, nested: nil, free: nil)],
            free: ["a": [true, -1, .unsigned(.max), 1.5, "x", nil, [:]]])
        let value = try JSONValue(encoding: sample)
        #expect(value["bytes"] == .unsigned(.max))
        #expect(try value.decode(as: Sample.self) == sample)
    }

    @Test func `names the member that does not fit`() throws {
        let error = try #require(throws: DecodingError.self) {
            try JSONValue.object(["name": "x", "bytes": "many", "ratio": 1, "free": nil]).decode(as: Sample.self)
        }
        #expect("\(error)".contains("bytes"))
    }
}
