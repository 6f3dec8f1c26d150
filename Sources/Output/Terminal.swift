import Foundation
import Glibc

/// A standard stream, with what is known of the terminal behind it.
package struct Terminal: Sendable {
    private let descriptor: Int32

    package static let input = Terminal(descriptor: STDIN_FILENO)
    package static let output = Terminal(descriptor: STDOUT_FILENO)
    package static let error = Terminal(descriptor: STDERR_FILENO)

    package var isInteractive: Bool { isatty(descriptor) == 1 }

    /// How many characters a line has; 80 where that cannot be told.
    package var columns: Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Writes at once, past every buffer. A reader that went away is not told: there is nobody left to tell.
    package func write(_ text: String) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno == EINTR { continue }
            guard written > 0 else { return }
            rest = rest.dropFirst(written)
        }
    }

    /// What the person at the terminal answers, a line of standard input; nil at its end. The question goes to standard error.
    package static func ask(_ question: String) async -> String? {
        error.write(question)
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread { continuation.resume(returning: readLine()) }
        }
    }

    /// Replaces the terminal's present line.
    package func redraw(_ line: String) {
        write("\r\u{1B}[K\(line)")
    }
}
