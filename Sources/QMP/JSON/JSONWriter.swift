extension JSONValue {
    /// The value as JSON text (UTF-8) in one line, members sorted by name. A number that JSON cannot express (NaN, infinity) becomes `null`.
    package var serialized: [UInt8] {
        var text: [UInt8] = []
        write(to: &text)
        return text
    }

    private func write(to text: inout [UInt8]) {
        switch self {
        case .null: text.append(contentsOf: "null".utf8)
        case .bool(let value): text.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): text.append(contentsOf: String(value).utf8)
        case .unsigned(let value): text.append(contentsOf: String(value).utf8)
        case .double(let value): text.append(contentsOf: (value.isFinite ? String(value) : "null").utf8)
        case .string(let value): Self.write(value, to: &text)
        case .array(let elements):
            text.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                element.write(to: &text)
            }
            text.append(UInt8(ascii: "]"))
        case .object(let members):
            text.append(UInt8(ascii: "{"))
            for (index, member) in members.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { text.append(UInt8(ascii: ",")) }
                Self.write(member.key, to: &text)
                text.append(UInt8(ascii: ":"))
                member.value.write(to: &text)
            }
            text.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ string: String, to text: inout [UInt8]) {
        let hexadecimal = Array("0123456789abcdef".utf8)
        text.append(UInt8(ascii: "\""))
        let plain: [UInt8] = Array(string.utf8)
        var start = plain.startIndex
        for (index, byte) in plain.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == 0x7f {
            text.append(contentsOf: plain[start..<index])
            start = index + 1
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                text.append(UInt8(ascii: "\\"))
                text.append(byte)
            } else {
                text.append(contentsOf: "\\u00".utf8)
                text.append(hexadecimal[Int(byte >> 4)])
                text.append(hexadecimal[Int(byte & 15)])
            }
        }
        text.append(contentsOf: plain[start...])
        text.append(UInt8(ascii: "\""))
    }
}
