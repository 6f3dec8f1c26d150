import Client
import Fleet
import Foundation
import Testing

@testable import Output
@testable import godwit

@Suite struct HistoryOutputTests {
    private let row = TransitionView(
        sequence: 7, migration: "m1", server: Named(id: "s1", name: "vm \"1\", new"), mode: .live,
        at: WireTime(Timestamp(milliseconds: 1_500)), from: .switching, to: .ready, direction: .forward, attempt: 1, epoch: 3,
        sourceHost: Named(id: "h1", name: "host1"), targetHost: Named(id: "h2", name: ""), actor: "w1", step: "switch",
        reason: Reason(.targetLost, "gone,\nfor good"), numbers: ["b": 2, "a": 1], hash: "abc")

    @Test func `values with commas, quotes and line breaks are escaped as RFC 4180 wants it`() {
        #expect(
            HistoryCSV.line(row)
                == "7,1970-01-01T00:00:01.500Z,m1,s1,\"vm \"\"1\"\", new\",live,switching,ready,forward,1,3,h1,host1,h2,,w1,switch,target-lost,"
                + "\"gone,\nfor good\",a=1 b=2,abc\r\n")
        #expect(HistoryCSV.header.split(separator: ",").count == 21)
    }

    @Test func `rows name what is gone by its id`() {
        let text = HistoryTables.rows([row])
        #expect(text.contains("| 7 ") && text.contains("| h2 ") && text.contains("target-lost: gone,"))
    }

    @Test func `statistics show what they were counted by, and figures in units`() {
        let text = HistoryTables.statistics(
            [
                StatisticsView(
                    key: ["mode": "live"], count: 3, ready: 2, failed: 1, totalMS: .init(p50: 900, p95: 4200, p99: 185_000),
                    blackoutUS: .init(p50: 850, p95: 61_400, p99: 61_400), bytes: .init(p50: 1 << 30, p95: 1 << 31, p99: 1 << 31)),
                StatisticsView(key: [:], count: 1, ready: 0, failed: 1),
            ], by: ["mode", "reason"])
        #expect(text.contains("| Mode | Count | Ready | Failed | Total p50 |"))
        let figures = "| 900 ms    | 4.2 s | 3 min 5 s | 850 µs       | 61.4 ms | 61.4 ms | 1 GiB     |"
        #expect(text.contains("| live | 3     | 2     | 1      \(figures)"))
    }

    @Test func `moments are read in three ways`() throws {
        let now = Timestamp(milliseconds: 10 * 86_400_000)
        #expect(try Moment.parse("7d", field: "since", now: now).description == "1970-01-04T00:00:00.000Z")
        #expect(try Moment.parse("90s", field: "since", now: now).timestamp == Timestamp(milliseconds: now.milliseconds - 90_000))
        #expect(try Moment.parse("2026-03-01", field: "since").description == "2026-03-01T00:00:00.000Z")
        #expect(try Moment.parse("2026-03-01T12:00:00.5Z", field: "since").description == "2026-03-01T12:00:00.500Z")
        for text in ["yesterday", "7", "2026-13-01", "d", ""] {
            #expect(throws: InputError.self) { try Moment.parse(text, field: "since") }
        }
    }

    @Test func `an archive is a new file, and what was written to it is there`() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: "archive-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let file = try ArchiveFile(creating: "\(folder)/a.jsonl")
        try file.write(HistoryLines.text([row, row]))
        try file.synchronize()
        try file.close()
        let lines = try String(contentsOfFile: "\(folder)/a.jsonl", encoding: .utf8).split(separator: "\n")
        #expect(try lines.map { try JSONDecoder().decode(TransitionView.self, from: Data($0.utf8)) } == [row, row])
        for (path, says) in [("\(folder)/a.jsonl", "exists"), ("\(folder)/none/a.jsonl", "cannot be made: No such file")] {
            let failure = #expect(throws: CommandFailure.self) { try ArchiveFile(creating: path) }
            #expect(failure?.exitCode == 1 && failure?.message.contains(says) == true, "\(failure?.message ?? "")")
        }
        #expect(try String(contentsOfFile: "\(folder)/a.jsonl", encoding: .utf8).split(separator: "\n").count == 2)
    }
}
