import Client
import Fleet
import Testing

@testable import godwit

@Suite struct DeviceFlagTests {
    @Test func `a disk is read in full`() throws {
        let disk = try DeviceFlags.disk("size=10G,format=raw,bus=virtio-scsi,storage=fast,image=/images/debian.qcow2")
        #expect(
            disk
                == DiskRequest(sizeBytes: 10 << 30, format: .raw, bus: .virtioSCSI, storage: "fast", image: "/images/debian.qcow2"))
        #expect(try DeviceFlags.disk("size=1M") == DiskRequest(sizeBytes: 1 << 20))
    }

    @Test(arguments: [
        ("", "“” is not of the form key=value."),
        ("size", "“size” is not of the form key=value."),
        ("size=", "size has no value."),
        ("size=big", "size “big” is no size; write it like 10G or 512M."),
        ("size=1G,size=2G", "size is given twice."),
        ("size=1G,colour=red", "“colour” is not one of size, format, bus, storage, image, base."),
        ("size=1G,format=vmdk", "format “vmdk” is not one of qcow2, raw."),
        ("size=1G,bus=ide", "bus “ide” is not one of virtio-blk, virtio-scsi."),
        ("image=disk.img", "image “disk.img” must be an absolute path, for it is read on the host."),
        ("format=raw", "a disk needs a size (size=10G), an image (image=/path/on/the/host) or a base (base=/path/on/the/host)."),
    ]) func `a wrong disk is told by what is wrong with it`(text: String, message: String) {
        let error = #expect(throws: InputError.self) { try DeviceFlags.disk(text) }
        #expect(error?.message == message)
    }

    @Test func `a nic is its network's name, or pairs`() throws {
        #expect(try DeviceFlags.nic("default") == NICRequest(network: "default"))
        #expect(try DeviceFlags.nic("network=default,mac=52:54:00:AB:cd:01") == NICRequest(network: "default", mac: "52:54:00:ab:cd:01"))
    }

    @Test(arguments: [
        "", "mac=52:54:00:12:34:56", "network=default,mac=52:54:00", "network=a,mac=52:54:00:12:34:5g", "a,b", "network=a,ip=1",
    ])
    func `a wrong nic is refused`(text: String) {
        #expect(throws: InputError.self) { try DeviceFlags.nic(text) }
    }
}

@Suite struct ServerFileTests {
    @Test func `a whole server is read`() throws {
        let request = try ServerFile.parse(
            """
            name: vm1
            vcpus: 2
            memory_mb: 1024
            cpu_model: qemu64
            machine: q35
            accelerator: tcg
            firmware: uefi
            boot:
              kernel: /boot/vmlinuz
              initrd: /boot/initrd
              command_line: console=ttyS0 quiet
            disks:
              - size: 10G
                format: raw
              - size_bytes: 1048576
                bus: virtio-scsi
                storage: local
              - image: /images/a.qcow2
            cdrom: /images/a.iso
            nics:
              - network: default
                mac: 52:54:00:12:34:56
            prefer_host: host1
            """, file: "server.yaml")
        #expect(
            request
                == CreateServerRequest(
                    name: "vm1", vcpus: 2, memoryMB: 1024, cpuModel: "qemu64", machine: "q35", accelerator: .tcg, firmware: .uefi,
                    boot: BootView(kernel: "/boot/vmlinuz", initrd: "/boot/initrd", commandLine: "console=ttyS0 quiet"),
                    disks: [
                        DiskRequest(sizeBytes: 10 << 30, format: .raw),
                        DiskRequest(sizeBytes: 1_048_576, bus: .virtioSCSI, storage: "local"),
                        DiskRequest(image: "/images/a.qcow2"),
                    ], cdrom: "/images/a.iso", nics: [NICRequest(network: "default", mac: "52:54:00:12:34:56")], preferHost: "host1"))
    }

    @Test(arguments: [
        ("name: a\nmemry_mb: 5\n", "s.yaml:2: “memry_mb” is no key of a server;"),
        ("name: a\ndisks:\n  - size: 1G\n    sise: 2\n", "s.yaml:4: “sise” is no key of a disk;"),
        ("name: a\nnics:\n  - network: x\n    ip: 1\n", "s.yaml:4: “ip” is no key of a nic;"),
        ("name: a\nvcpus: 0\n", "s.yaml:2: vcpus “0” must be a whole number of at least 1."),
        ("name: a\nvcpus: two\n", "s.yaml:2: vcpus “two” must be a whole number of at least 1."),
        ("name: a\nfirmware: efi\n", "s.yaml:2: firmware “efi” is not one of bios, uefi."),
        ("name: a\ndisks: 10G\n", "s.yaml:2: disks must be a list, each entry beginning with “- ”."),
        ("name: a\ndisks:\n  - format: raw\n", "s.yaml:3: a disk needs a size"),
        ("name: a\ndisks:\n  - size: 1G\n    size_bytes: 5\n", "s.yaml:3: a disk has a size or size_bytes, not both."),
        ("name: a\nboot:\n  initrd: /x\n", "s.yaml:3: boot needs a kernel."),
        ("name: a\nboot:\n  kernel: x\n", "s.yaml:3: kernel “x” must be an absolute path"),
        ("name: a\nname: b\n", "s.yaml:1: the key “name” is given twice."),
        ("name: [a\n", "s.yaml:2: this is no valid YAML:"),
        ("name: a\n\tvcpus: 2\n", "s.yaml:2: this is no valid YAML:"),
        ("- a\n- b\n", "s.yaml:1: a server must be written as “key: value” lines."),
        ("", "s.yaml is empty."),
        ("name: a\nnics:\n  - network: x\n    mac: 1:2\n", "s.yaml:4: mac “1:2” is no MAC address;"),
    ]) func `a wrong file is told by line and key`(text: String, beginning: String) {
        let error = #expect(throws: InputError.self) { try ServerFile.parse(text, file: "s.yaml") }
        #expect(error?.message.hasPrefix(beginning) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("\n") == false)
    }
}
