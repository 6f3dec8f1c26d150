/// Takes a stream of server-sent events apart (WHATWG HTML, chapter 9.2): bytes in as they come, whole events out.
struct EventParser {
    struct Event: Hashable {
        /// `message` unless the server named it.
        var name = "message"
        var data = ""
    }

    private var line: [UInt8] = []
    private var name: String?
    private var data: [String] = []

    mutating func feed(_ bytes: some Sequence<UInt8>) -> [Event] {
        var events: [Event] = []
        for byte in bytes {
            if byte != UInt8(ascii: "\n") {
                line.append(byte)
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if let event = end(line: String(decoding: line, as: UTF8.self)) { events.append(event) }
            line.removeAll(keepingCapacity: true)
        }
        return events
    }

    private mutating func end(line: String) -> Event? {
        if line.isEmpty {
            defer {
                name = nil
                data = []
            }
            return data.isEmpty ? nil : Event(name: name ?? "message", data: data.joined(separator: "\n"))
        }
        let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let text = parts.count == 2 ? parts[1] : ""
        let value = text.first == " " ? text.dropFirst() : text
        switch parts[0] {
        case "event": name = String(value)
        case "data": data.append(String(value))
        default: break
        }
        return nil
    }
}
