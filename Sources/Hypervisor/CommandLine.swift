import AgentAPI
package import Fleet
import Foundation
import QMP

/// QEMU's command line for a guest, as a pure function: equal descriptions give guests of equal make on every host, device for device
/// and slot for slot, so that one can take over the other's state.
package enum CommandLine {
    package enum Purpose: Sendable {
        /// To be started from its disks; it waits for `cont`.
        case boot
        /// To take over the state of another host's guest.
        case incoming
    }

    /// How a nic is attached on this host.
    package enum Attachment: Hashable, Sendable {
        /// QEMU makes the tap; the agent puts it on the bridge.
        case tap(String)
        case user
    }

    /// What is the host's own about it.
    package struct Surroundings: Sendable {
        package var paths: GuestPaths
        /// By disk name.
        package var diskPaths: [String: String]
        /// Disks whose file system takes direct I/O.
        package var directDisks: Set<String>
        /// By nic name.
        package var attachments: [String: Attachment]
        package var firmwareCode: String?
        /// The file of the firmware's variables; with the code or not at all.
        package var firmwareVariables: String?

        package init(
            paths: GuestPaths, diskPaths: [String: String], directDisks: Set<String>, attachments: [String: Attachment],
            firmwareCode: String?, firmwareVariables: String?
        ) {
            self.paths = paths
            self.diskPaths = diskPaths
            self.directDisks = directDisks
            self.attachments = attachments
            self.firmwareCode = firmwareCode
            self.firmwareVariables = firmwareVariables
        }
    }

    /// Slots on the first PCI bus: 0 is the chipset, 1 and 31 are its functions on one or the other machine, 2 is left to a display.
    private static let scsiSlot = 0x3
    private static let nicSlots = 0x4..<0xc
    private static let diskSlots = 0xc..<0x1f
    private static let longestSCSI = 250

    /// Why no QEMU can be built from it; nil when one can.
    package static func obstacle(_ guest: GuestDescription) -> String? {
        if guest.nics.count > nicSlots.count {
            return "\(guest.nics.count) nics are more than the \(nicSlots.count) that a server can have"
        }
        let plain = guest.disks.count { $0.bus == .virtioBlk }
        if plain > diskSlots.count {
            return "\(plain) virtio-blk disks are more than the \(diskSlots.count) that a server can have: use virtio-scsi"
        }
        if guest.disks.count - plain > longestSCSI { return "more than \(longestSCSI) virtio-scsi disks" }
        return nil
    }

    package static func arguments(_ guest: GuestDescription, _ around: Surroundings, for purpose: Purpose) -> [String] {
        var line: [String] = ["-name", "guest=\(guest.server),debug-threads=on", "-nodefaults", "-no-user-config", "-S"]
        if purpose == .incoming { line += ["-incoming", "defer"] }
        if UUID(uuidString: guest.server.value) != nil { line += ["-uuid", guest.server.value] }

        var machine = "\(guest.machine),usb=off,dump-guest-core=off"
        if guest.firmware == .uefi, let code = around.firmwareCode, let variables = around.firmwareVariables {
            machine += ",pflash0=firmware-code,pflash1=firmware-vars"
            line += blockdev([
                "driver": "raw", "node-name": "firmware-code", "read-only": true, "file": ["driver": "file", "filename": .string(code)],
            ])
            line += blockdev([
                "driver": "raw", "node-name": "firmware-vars", "file": ["driver": "file", "filename": .string(variables)],
            ])
        }
        line += ["-machine", machine, "-accel", guest.accelerator.rawValue, "-cpu", guest.cpuModel]
        line += ["-m", "\(guest.memoryBytes / 1024)k", "-smp", "\(guest.vcpus),sockets=1,cores=\(guest.vcpus),threads=1"]
        line += ["-rtc", "base=utc", "-display", "none", "-boot", "strict=on"]

        if let boot = guest.boot {
            line += ["-kernel", boot.kernel]
            if let initrd = boot.initrd { line += ["-initrd", initrd] }
            if !boot.commandLine.isEmpty { line += ["-append", boot.commandLine] }
        }

        let bus = guest.machine.contains("q35") ? "pcie.0" : "pci.0"
        line += disks(guest, around, bus: bus)
        if let cdrom = guest.cdrom {
            line += blockdev([
                "driver": "raw", "node-name": "cdrom", "read-only": true, "file": ["driver": "file", "filename": .string(cdrom)],
            ])
            line += ["-device", "ide-cd,id=cdrom,drive=cdrom,bus=ide.0,unit=0,bootindex=\(guest.disks.count + 1)"]
        }
        for (index, nic) in guest.nics.enumerated() {
            switch around.attachments[nic.name] ?? .user {
            case .tap(let name): line += ["-netdev", "tap,id=\(nic.name)-host,ifname=\(name),script=no,downscript=no"]
            case .user: line += ["-netdev", "user,id=\(nic.name)-host"]
            }
            // Without an option ROM: its size would have to be the same on both hosts.
            line += [
                "-device",
                "virtio-net-pci,id=\(nic.name),netdev=\(nic.name)-host,mac=\(nic.mac),romfile=,bus=\(bus),addr=\(slot(nicSlots.lowerBound + index))",
            ]
        }

        line += ["-chardev", "file,id=console,path=\(escaped(around.paths.console)),append=on", "-serial", "chardev:console"]
        for path in [around.paths.monitor, around.paths.rescue] { line += ["-qmp", "unix:\(escaped(path)),server=on,wait=off"] }
        // QEMU 7.2 cannot daemonize under spawn=deny or elevateprivileges=deny.
        line += ["-sandbox", "on,obsolete=deny,resourcecontrol=deny"]
        line += ["-msg", "timestamp=on", "-D", around.paths.log, "-daemonize", "-pidfile", around.paths.pid]
        return line
    }

    private static func disks(_ guest: GuestDescription, _ around: Surroundings, bus: String) -> [String] {
        var line: [String] = []
        if guest.disks.contains(where: { $0.bus == .virtioSCSI }) {
            line += ["-device", "virtio-scsi-pci,id=scsi,bus=\(bus),addr=\(slot(scsiSlot))"]
        }
        var nextSlot = diskSlots.lowerBound
        var nextTarget = 0
        for (index, disk) in guest.disks.enumerated() {
            line += blockdev([
                "driver": .string(disk.format.rawValue), "node-name": .string(disk.name), "discard": "unmap", "detect-zeroes": "unmap",
                "file": [
                    "driver": "file", "node-name": .string(disk.name + "-file"), "filename": .string(around.diskPaths[disk.name] ?? ""),
                    "discard": "unmap", "cache": ["direct": .bool(around.directDisks.contains(disk.name)), "no-flush": false],
                ],
            ])
            switch disk.bus {
            case .virtioBlk:
                line += [
                    "-device", "virtio-blk-pci,id=\(disk.name),drive=\(disk.name),bus=\(bus),addr=\(slot(nextSlot)),bootindex=\(index + 1)",
                ]
                nextSlot += 1
            case .virtioSCSI:
                line += [
                    "-device",
                    "scsi-hd,id=\(disk.name),drive=\(disk.name),bus=scsi.0,channel=0,scsi-id=\(nextTarget),lun=0,bootindex=\(index + 1)",
                ]
                nextTarget += 1
            }
        }
        return line
    }

    private static func blockdev(_ node: JSONValue) -> [String] { ["-blockdev", node.description] }

    private static func slot(_ number: Int) -> String { "0x" + String(number, radix: 16) }

    /// In QEMU's `key=value,…` a comma is written twice.
    package static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: ",", with: ",,")
    }
}
