import Testing

@testable import QMP

@Suite struct `The conversation` {
    let start = ContinuousClock.now
    var session = Session(path: "/run/x", prefix: "p")

    func request(_ id: UInt64, _ kind: Session.Kind = .inBand, patience: Duration = .seconds(10)) -> Session.Request {
        Session.Request(id: id, command: "command-\(id)", kind: kind, deadline: start.advanced(by: patience), patience: patience)
    }

    func answer(_ id: UInt64) -> [UInt8] {
        Array(#"{"return": \#(id), "id": "p-\#(id)"}"#.utf8)
    }

    func code(_ actions: [Session.Action], of id: UInt64) -> QMPError.Code? {
        for case .finish(id, .failure(let error)) in actions { return error.code }
        return nil
    }

    @Test mutating func `sends no more than a window and the rest in order`() throws {
        let sent = (1...10).flatMap { session.submit(request($0)) }
        #expect(sent == (1...7).map { .send($0) })
        #expect(try session.receive(answer(3)) == [.finish(3, .success(3)), .send(8)])
        #expect(try session.receive(answer(1)) == [.finish(1, .success(1)), .send(9)])
    }

    @Test mutating func `sends what is out-of-band past a full window`() {
        for id in 1...9 as ClosedRange<UInt64> { _ = session.submit(request(id)) }
        #expect(session.submit(request(10, .outOfBand)) == [.send(10)])
    }

    @Test mutating func `has one descriptor under way at a time`() throws {
        #expect(session.submit(request(1, .descriptor)) == [.send(1)])
        #expect(session.submit(request(2, .descriptor)) == [])
        #expect(session.submit(request(3)) == [], "behind the descriptor, in the order of submission")
        #expect(try session.receive(answer(1)) == [.finish(1, .success(1)), .send(2), .send(3)])
    }

    @Test mutating func `a descriptor given up while under way still holds the next one back`() throws {
        _ = session.submit(request(1, .descriptor))
        _ = session.submit(request(2, .descriptor))
        #expect(session.abandon(1) == [])
        #expect(try session.receive(answer(1)).last == .send(2))
    }

    @Test mutating func `a waiting descriptor given up lets those behind it go`() {
        _ = session.submit(request(1, .descriptor))
        _ = session.submit(request(2, .descriptor))
        _ = session.submit(request(3))
        #expect(session.abandon(2) == [.send(3)])
    }

    @Test mutating func `drops a reply that comes after the deadline and stays usable`() throws {
        _ = session.submit(request(1, patience: .seconds(1)))
        #expect(code(session.expire(at: start.advanced(by: .milliseconds(999))), of: 1) == nil)
        #expect(code(session.expire(at: start.advanced(by: .seconds(1))), of: 1) == .deadline)
        #expect(session.nextDeadline == nil)
        let late = try session.receive(answer(1))
        #expect(!late.contains { if case .finish = $0 { true } else { false } })
        _ = session.submit(request(2))
        #expect(try session.receive(answer(2)) == [.finish(2, .success(2))])
    }

    @Test mutating func `never sends a command whose deadline passed while it waited`() throws {
        for id in 1...7 as ClosedRange<UInt64> { _ = session.submit(request(id)) }
        _ = session.submit(request(8, patience: .seconds(1)))
        let actions = session.expire(at: start.advanced(by: .seconds(2)))
        #expect(code(actions, of: 8) == .deadline)
        #expect(try session.receive(answer(1)) == [.finish(1, .success(1))])
    }

    @Test mutating func `counts an unanswered command against the window even when nobody waits for it`() throws {
        for id in 1...7 as ClosedRange<UInt64> { _ = session.submit(request(id, patience: .seconds(1))) }
        _ = session.expire(at: start.advanced(by: .seconds(1)))
        #expect(session.submit(request(8)) == [])
        #expect(try session.receive(answer(1)).last == .send(8))
    }

    @Test mutating func `wakes for the nearest deadline`() {
        _ = session.submit(request(1, patience: .seconds(5)))
        _ = session.submit(request(2, patience: .seconds(3)))
        #expect(session.nextDeadline == start.advanced(by: .seconds(3)))
        _ = session.abandon(2)
        #expect(session.nextDeadline == start.advanced(by: .seconds(5)))
    }

    @Test(arguments: [#""p-99""#, #""q-1""#, #""p-""#, "1", "null"])
    mutating func `does not take another client's reply for its own`(id: String) throws {
        _ = session.submit(request(1))
        let actions = try session.receive(Array(#"{"return": {}, "id": \#(id)}"#.utf8))
        #expect(actions.count == 1)
        guard case .note = actions.first else {
            Issue.record("expected only a note for the log, not \(actions)")
            return
        }
    }

    @Test(arguments: [
        "garbage", "[]", "1", "{}", #"{"event": 1}"#, #"{"return": {}}"#, #"{"error": {"class": "GenericError"}, "id": "p-1"}"#,
        #"{"error": {"class": "GenericError", "desc": "JSON parse error"}}"#,
    ])
    mutating func `calls the rest a violation`(line: String) {
        _ = session.submit(request(1))
        let error = #expect(throws: QMPError.self) { try session.receive(Array(line.utf8)) }
        #expect(error?.code == .protocolViolation)
    }

    @Test mutating func `takes the greeting early or late, and another only while nothing is agreed on`() throws {
        let greeting = Array(#"{"QMP": {}}"#.utf8)
        #expect(try session.receive(greeting) == [])
        #expect(session.submit(request(1, .greeting)) == [.finish(1, .success(["QMP": [:]]))])
        #expect(try session.receive(greeting) == [.note("QEMU greeted again")])
        session.negotiated()
        #expect(throws: QMPError.self) { try session.receive(greeting) }
        var other = Session(path: "/run/x", prefix: "p")
        #expect(other.submit(request(1, .greeting)) == [])
        #expect(try other.receive(greeting) == [.finish(1, .success(["QMP": [:]]))])
    }

    @Test mutating func `reads an event's time as microseconds`() throws {
        let line = #"{"timestamp": {"seconds": 1700000000, "microseconds": 42}, "event": "STOP"}"#
        #expect(try session.receive(Array(line.utf8)) == [.publish(QMPEvent(name: "STOP", timestamp: 1_700_000_000_000_042))])
        let clockless = #"{"timestamp": {"seconds": -1, "microseconds": -1}, "event": "STOP"}"#
        #expect(try session.receive(Array(clockless.utf8)) == [.publish(QMPEvent(name: "STOP", timestamp: nil))])
    }

    @Test mutating func `fails everything at the end and all that comes after`() {
        for id in 1...8 as ClosedRange<UInt64> { _ = session.submit(request(id)) }
        let actions = session.close(QMPError(.connectionClosed, "gone"))
        for id in 1...8 as ClosedRange<UInt64> { #expect(code(actions, of: id) == .connectionClosed) }
        #expect(session.close(QMPError(.connectionClosed, "again")) == [])
        #expect(code(session.submit(request(9)), of: 9) == .connectionClosed)
        #expect(session.nextDeadline == nil)
    }
}

@Suite struct `Lines` {
    @Test(arguments: [1, 2, 3, 7, 1000])
    func `come out whole however the stream is cut`(size: Int) throws {
        let text = Array("{\"a\": 1}\r\n\r\n\n[2]\n\"half".utf8)
        var buffer = LineBuffer()
        var lines: [String] = []
        var rest = text[...]
        while !rest.isEmpty {
            lines += try buffer.append(Array(rest.prefix(size)))
            rest = rest.dropFirst(size)
        }
        #expect(lines == ["{\"a\": 1}", "[2]"])
        #expect(buffer.isInsideLine)
        #expect(try buffer.append(Array("\"\r\n".utf8)) == ["\"half\""])
        #expect(!buffer.isInsideLine)
    }

    @Test func `without an end are refused`() throws {
        var buffer = LineBuffer(longest: 10)
        #expect(try buffer.append(Array("0123456789".utf8)) == [])
        let error = #expect(throws: QMPError.self) { try buffer.append(Array("0".utf8)) }
        #expect(error?.code == .protocolViolation)
    }
}

extension LineBuffer {
    fileprivate mutating func append(_ bytes: [UInt8]) throws -> [String] {
        try bytes.withUnsafeBytes { try append($0) }.map { String(decoding: $0, as: UTF8.self) }
    }
}
