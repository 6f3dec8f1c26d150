import Client
import Fleet

/// The values of `--disk` and `--nic`: `key=value` pairs between commas.
enum DeviceFlags {
    /// `size=10G,format=qcow2,bus=virtio-blk,storage=local,image=/path,base=/path`; a size, an image or a base is needed.
    static func disk(_ text: String) throws(InputError) -> DiskRequest {
        var disk = DiskRequest()
        for (key, value) in try pairs(text, known: ["size", "format", "bus", "storage", "image", "base"]) {
            switch key {
            case "size":
                guard let bytes = ByteSize.bytes(value) else {
                    throw InputError("size “\(value)” is no size; write it like 10G or 512M.")
                }
                disk.sizeBytes = bytes
            case "format": disk.format = try Choices.parse(value, as: DiskFormat.self, field: "format")
            case "bus": disk.bus = try Choices.parse(value, as: DiskBus.self, field: "bus")
            case "storage": disk.storage = value
            case "base": disk.base = try Choices.hostPath(value, field: "base")
            default: disk.image = try Choices.hostPath(value, field: "image")
            }
        }
        guard disk.sizeBytes != nil || disk.image != nil || disk.base != nil else {
            throw InputError("a disk needs a size (size=10G), an image (image=/path/on/the/host) or a base (base=/path/on/the/host).")
        }
        if let obstacle = obstacle(disk) { throw InputError(obstacle) }
        return disk
    }

    /// Why what a disk is to begin with cannot be; nil when it can.
    static func obstacle(_ disk: DiskRequest) -> String? {
        guard disk.base != nil else { return nil }
        if disk.image != nil { return "a disk is a copy of an image or rests on a base: give image or base, not both." }
        return disk.format == .raw ? "a raw disk cannot rest on a base: leave out format, or give qcow2." : nil
    }

    /// `network=default,mac=52:54:00:12:34:56`, or the network's name alone.
    static func nic(_ text: String) throws(InputError) -> NICRequest {
        guard text.contains("=") else {
            guard !text.isEmpty, !text.contains(",") else { throw InputError("a nic needs a network (network=default).") }
            return NICRequest(network: text)
        }
        var network: String?
        var mac: String?
        for (key, value) in try pairs(text, known: ["network", "mac"]) {
            if key == "network" { network = value } else { mac = try self.mac(value) }
        }
        guard let network else { throw InputError("a nic needs a network (network=default).") }
        return NICRequest(network: network, mac: mac)
    }

    /// Six octets in hexadecimal with colons, in lower case.
    static func mac(_ text: String) throws(InputError) -> String {
        let octets = text.split(separator: ":", omittingEmptySubsequences: false)
        guard octets.count == 6, octets.allSatisfy({ $0.count == 2 && UInt8($0, radix: 16) != nil }) else {
            throw InputError("mac “\(text)” is no MAC address; write it like 52:54:00:12:34:56.")
        }
        return text.lowercased()
    }

    private static func pairs(_ text: String, known: [String]) throws(InputError) -> [(key: String, value: String)] {
        var pairs: [(key: String, value: String)] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let equals = part.firstIndex(of: "=") else { throw InputError("“\(part)” is not of the form key=value.") }
            let key = String(part[..<equals])
            let value = String(part[part.index(after: equals)...])
            guard known.contains(key) else { throw InputError("“\(key)” is not one of \(known.joined(separator: ", ")).") }
            guard !pairs.contains(where: { $0.key == key }) else { throw InputError("\(key) is given twice.") }
            guard !value.isEmpty else { throw InputError("\(key) has no value.") }
            pairs.append((key, value))
        }
        return pairs
    }
}
