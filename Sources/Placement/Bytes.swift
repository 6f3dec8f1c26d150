/// Bytes as a person reads them: binary units, one digit after the point.
struct Bytes: CustomStringConvertible {
    let count: Int64

    init(_ count: Int64) { self.count = count }

    var description: String {
        var scaled = Double(count)
        var unit = 0
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
        while scaled >= 1024, unit < units.count - 1 {
            scaled /= 1024
            unit += 1
        }
        let tenths = Int64((scaled * 10).rounded())
        return tenths % 10 == 0 ? "\(tenths / 10) \(units[unit])" : "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }
}
