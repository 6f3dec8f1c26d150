/// A release of QEMU as far as machine types tell them apart: `7.2` of QEMU 7.2.22 and of pc-i440fx-7.2.
package struct QEMURelease: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let major: Int
    package let minor: Int

    /// Of a version, `7.2.22`; nil when it is none.
    package init?(version: some StringProtocol) {
        let numbers = version.split(separator: ".").prefix(2).map { Int($0.prefix { $0.isNumber }) }
        guard numbers.count == 2, let major = numbers[0], let minor = numbers[1] else { return nil }
        self.major = major
        self.minor = minor
    }

    /// Of a versioned machine type, `pc-i440fx-7.2`; nil for one without a version.
    package init?(machine: String) {
        guard let version = machine.split(separator: "-").last, version.first?.isNumber == true else { return nil }
        self.init(version: version)
    }

    package static func < (left: QEMURelease, right: QEMURelease) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    package var description: String { "\(major).\(minor)" }
}
