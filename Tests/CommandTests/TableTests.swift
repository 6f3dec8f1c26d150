import Testing

@testable import Output
@testable import godwit

@Suite struct TableTests {
    @Test func `a table has climc's borders, a centred header and cells to the left`() {
        let table = Table(["ID", "Name"], rows: [["1", "vm1"], ["22", "database"]])
        #expect(
            table.text == """
                +----+----------+
                | ID |   Name   |
                +----+----------+
                | 1  | vm1      |
                | 22 | database |
                +----+----------+

                """)
    }

    @Test func `a column shows only where some row has something in it`() {
        let table = Table(["ID", "Note", "Reason"], rows: [["1", nil, "x"], ["2", "", nil]])
        #expect(table.columns.map(\.name) == ["ID", "Reason"])
    }

    @Test func `no row is no table`() {
        #expect(Table(["ID"], rows: []).text.isEmpty)
        #expect(Table(fields: ["note": nil]).text.isEmpty)
    }

    @Test func `Han characters take two columns`() {
        let table = Table(["N"], rows: [["虚拟机"], ["abcdef"]])
        #expect(
            table.text == """
                +--------+
                |   N    |
                +--------+
                | 虚拟机 |
                | abcdef |
                +--------+

                """)
    }

    @Test func `a cell of several lines keeps the borders whole`() {
        let table = Table(fields: ["id": "7", "nics": "nic0  default\nnic1  backup", "note": nil])
        #expect(
            table.text == """
                +-------+---------------+
                | Field |     Value     |
                +-------+---------------+
                | id    | 7             |
                | nics  | nic0  default |
                |       | nic1  backup  |
                +-------+---------------+

                """)
    }

    @Test func `a long sentence is broken at blanks, its words kept whole`() {
        #expect("one two three".wrapped(7) == "one two\nthree")
        #expect("/a/path/longer/than/that is whole".wrapped(10) == "/a/path/longer/than/that\nis whole")
        #expect("a\n\nb".wrapped(10) == "a\n\nb")
    }

    @Test func `the footer counts, and pages where a limit was given, as climc's does`() {
        #expect(Table.footer(total: 1, shown: 1) == "***  Total: 1  ***")
        #expect(Table.footer(total: 1, shown: 1, limit: 20) == "***  Total: 1 Pages: 1 Limit: 20 Offset: 0 Page: 1  ***")
        #expect(Table.footer(total: 41, shown: 20, limit: 20) == "***  Total: 41 Pages: 3 Limit: 20 Offset: 0 Page: 1  ***")
        #expect(Table.footer(total: 41, shown: 1, limit: 20, offset: 40) == "***  Total: 41 Pages: 3 Limit: 20 Offset: 40 Page: 3  ***")
        #expect(Table.footer(total: 0, shown: 0, limit: 20) == "***  Total: 0 Pages: 0 Limit: 20 Offset: 0 Page: 1  ***")
        #expect(Table.footer(total: nil, shown: 20, limit: 20) == "***  Total: not counted Limit: 20 Offset: 0 Page: 1  ***")
    }
}
