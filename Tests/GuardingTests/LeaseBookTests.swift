import Fleet
import Guarding
import Testing

@Suite struct LeaseBookTests {
    static let boot = "b1"
    private func at(_ milliseconds: Int64, boot: String = Self.boot) -> BootTime { BootTime(bootID: boot, milliseconds: milliseconds) }
    private func lease(_ number: Int64, until: Int64, boot: String = Self.boot) -> GuardOrder {
        GuardOrder(number: number, bootID: boot, untilMS: until)
    }
    private func release(_ number: Int64, boot: String = Self.boot) -> GuardOrder { GuardOrder(number: number, bootID: boot, untilMS: nil) }

    @Test func `a lease is held until its moment, and over from then on`() {
        var book = LeaseBook()
        #expect(book.standing(at: at(0)) == .free)
        #expect(book.obey(lease(1, until: 100), at: at(0), isLeaving: false) == nil)
        #expect(book.standing(at: at(99)) == .held(forMS: 1))
        #expect(book.standing(at: at(100)) == .over(forMS: 0))
        #expect(book.report(.serving, at: at(99)).confirms)
        #expect(!book.report(.serving, at: at(100)).confirms)
    }

    @Test func `of several the longest counts, and none shortens it`() {
        var book = LeaseBook()
        #expect(book.obey(lease(1, until: 300), at: at(0), isLeaving: false) == nil)
        #expect(book.obey(lease(2, until: 200), at: at(0), isLeaving: false) == nil)
        #expect(book.standing(at: at(250)) == .held(forMS: 50))
    }

    @Test func `a late order changes nothing`() {
        var book = LeaseBook(number: 5, lease: LeaseBook.Lease(bootID: Self.boot, untilMS: 100))
        let before = book
        #expect(book.obey(lease(4, until: 900), at: at(0), isLeaving: false) != nil)
        #expect(book.obey(release(4), at: at(0), isLeaving: false) != nil)
        #expect(book == before)
        // The same one again is obeyed again.
        #expect(book.obey(lease(5, until: 100), at: at(0), isLeaving: false) == nil)
        #expect(book == before)
    }

    @Test func `a lease that is over when it comes arms nothing and opens nothing`() {
        var book = LeaseBook()
        #expect(book.obey(lease(1, until: 100), at: at(100), isLeaving: false) != nil)
        #expect(book.standing(at: at(100)) == .free && book.number == 1)
        book = LeaseBook(number: 1, lease: LeaseBook.Lease(bootID: Self.boot, untilMS: 50))
        #expect(book.obey(lease(2, until: 80), at: at(90), isLeaving: false) != nil)
        #expect(book.standing(at: at(90)).isOver)
        #expect(book.obey(lease(3, until: 200), at: at(90), isLeaving: false) == nil)
        #expect(book.standing(at: at(90)) == .held(forMS: 110))
    }

    @Test func `what was given before the host was started anew is over, and nothing meant for then is obeyed`() {
        var book = LeaseBook(number: 7, lease: LeaseBook.Lease(bootID: "b0", untilMS: 1_000_000))
        #expect(book.standing(at: at(5)) == .over(forMS: nil))
        #expect(book.obey(lease(8, until: 1_000_000, boot: "b0"), at: at(5), isLeaving: false) != nil)
        #expect(book.obey(release(8, boot: "b0"), at: at(5), isLeaving: false) != nil)
        #expect(book.standing(at: at(5)).isOver)
        #expect(book.obey(lease(8, until: 50), at: at(5), isLeaving: false) == nil)
        #expect(book.standing(at: at(5)) == .held(forMS: 45), "the former lease's moment is none of this clock's")
    }

    @Test func `a guard that leaves promises nothing new, and is released`() {
        var book = LeaseBook(number: 1, lease: LeaseBook.Lease(bootID: Self.boot, untilMS: 50))
        #expect(book.obey(lease(2, until: 90), at: at(0), isLeaving: true) != nil)
        #expect(book.standing(at: at(49)) == .held(forMS: 1), "what was promised before is kept")
        #expect(!book.report(.leaving, at: at(0)).confirms)
        #expect(book.obey(release(3), at: at(0), isLeaving: true) == nil)
        #expect(book.standing(at: at(99)) == .free)
        // A lease that was written down before the release and comes after it.
        #expect(book.obey(lease(2, until: 900), at: at(0), isLeaving: false) != nil)
        #expect(book.standing(at: at(0)) == .free)
    }
}
