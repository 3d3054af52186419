"""Write the recorded machines: synthetic, in the shapes real systems have. Run it after changing a description here.

    python tests/machine_trees/build.py

Every serial, address and name is made up. A test fails if a folder differs from what this script writes.
"""

import json
import plistlib
import sys
from pathlib import Path

HERE = Path(__file__).parent
DMI = "/sys/devices/virtual/dmi/id/"
ROOT_ONLY = [DMI + name for name in ("product_uuid", "product_serial", "board_serial", "chassis_serial")]
ADAPTERS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e972-e325-11ce-bfc1-08002be10318}"


class Linux:
    """Describes a Linux machine file by file."""

    def __init__(self, about: str, *, account: tuple[str, str] = ("1000", "avlacey")) -> None:
        self.about = about
        self.account = account
        self.files: dict[str, str] = {"/proc/sys/kernel/osrelease": "6.8.0-45-generic\n"}
        self.links: dict[str, str] = {}
        self.macs: dict[str, str] = {}
        self.denied: list[str] = []
        self.environ: dict[str, str] = {}
        self.mounts: list[str] = []
        self.adapter("lo", "00:00:00:00:00:00", "", arp="772")

    def dmi(self, **values: str) -> "Linux":
        self.links["/sys/class/dmi/id"] = "../../devices/virtual/dmi/id"
        for name, value in values.items():
            self.files[DMI + name] = value + "\n"
        self.denied += [path for path in ROOT_ONLY if path in self.files]
        return self

    def adapter(
        self,
        name: str,
        address: str,
        device: str,
        bus: str = "pci",
        *,
        arp: str = "1",
        assigned: str = "0",
        permanent: str = "",
        master: str = "",
        removable: str = "",
    ) -> "Linux":
        real = f"/sys/devices/{device or 'virtual'}/net/{name}"
        self.links[f"/sys/class/net/{name}"] = f"../../devices/{device or 'virtual'}/net/{name}"
        self.files |= {f"{real}/address": address + "\n", f"{real}/type": arp + "\n"}
        self.files[f"{real}/addr_assign_type"] = assigned + "\n"
        if device:
            self.links[f"{real}/device"] = "../../../" + device.rpartition("/")[2]
            self.links[f"/sys/devices/{device}/subsystem"] = "../" * (device.count("/") + 2) + f"bus/{bus}"
            if removable:
                self.files[f"/sys/devices/{device}/removable"] = removable + "\n"
        if master:
            self.links[f"{real}/master"] = f"../../../../../virtual/net/{master}"
        if permanent:
            self.macs[name] = permanent
        return self

    def disk(self, name: str, number: str, device: str, *, parts: int = 0, **attributes: str) -> "Linux":
        real = f"/sys/devices/{device}/block/{name}"
        major, _colon, minor = number.partition(":")
        self._block(name, number, real)
        for place, value in attributes.items():
            if place.startswith("device__"):
                self.files[f"/sys/devices/{device}/{place.removeprefix('device__')}"] = value + "\n"
            else:
                self.files[f"{real}/{place}"] = value + "\n"
        self.links[f"{real}/device"] = "../../../" + device.rpartition("/")[2]
        for part in range(1, parts + 1):
            label = f"{name}p{part}" if name[-1].isdigit() else f"{name}{part}"
            self._block(label, f"{major}:{int(minor) + part}", f"{real}/{label}")
            self.files[f"{real}/{label}/partition"] = f"{part}\n"
        return self

    def mapped(self, name: str, number: str, slaves: list[str], dm_name: str = "") -> "Linux":
        real = f"/sys/devices/virtual/block/{name}"
        self._block(name, number, real)
        for slave in slaves:
            self.links[f"{real}/slaves/{slave}"] = f"../../../../../class/block/{slave}"
        if dm_name:
            self.files[f"{real}/dm/name"] = dm_name + "\n"
        return self

    def _block(self, name: str, number: str, real: str) -> None:
        relative = real.removeprefix("/sys/")
        self.files[f"{real}/dev"] = number + "\n"
        self.links[f"/sys/class/block/{name}"] = f"../../{relative}"
        self.links[f"/sys/dev/block/{number}"] = f"../../{relative}"

    def mount(self, number: str, point: str, filesystem: str, source: str, options: str = "rw,relatime") -> "Linux":
        self.mounts.append(
            f"{30 + len(self.mounts)} 1 {number} / {point} {options} shared:1 - {filesystem} {source} rw"
        )
        return self

    def file(self, path: str, content: str) -> "Linux":
        self.files[path] = content
        return self

    def recording(self) -> dict:
        files = dict(self.files)
        files["/proc/self/mountinfo"] = "\n".join(["22 1 0:21 / /proc rw - proc proc rw", *self.mounts]) + "\n"
        return {
            "platform": "linux",
            "about": self.about,
            "account": list(self.account),
            "environ": self.environ,
            "denied": self.denied,
            "permanent_macs": self.macs,
            "files": files,
            "links": self.links,
            "tools": {},
            "system_disks": [],
        }


def linux_machines() -> dict[str, Linux]:
    laptop = (
        Linux("ThinkPad-like laptop, Ubuntu: NVMe, Ethernet on the board, Wi-Fi with a randomised address, docks, VPN")
        .dmi(
            sys_vendor="LENOVO",
            product_name="21CBCTO1WW",
            product_uuid="3ff4aecc-2d21-11b2-a85c-c1dd6a0c9f2e",
            product_serial="PF3XK7QL",
            board_serial="L1HF2CJ01PB",
            chassis_serial="PF3XK7QL",
            bios_version="N3AET70W (1.35 )",
        )
        .adapter("enp0s31f6", "9c:2d:cd:31:4f:a0", "pci0000:00/0000:00:1f.6", permanent="9c2dcd314fa0")
        .adapter(
            "wlp3s0",
            "5a:11:0b:7e:c4:02",
            "pci0000:00/0000:00:1c.0/0000:03:00.0",
            assigned="3",
            permanent="f47b0996e3c1",
        )
        .adapter("docker0", "02:42:ac:11:00:01", "")
        .adapter("virbr0", "52:54:00:6b:3c:58", "")
        .adapter("tun0", "00:00:00:00:00:00", "", arp="65534")
        .disk(
            "nvme0n1",
            "259:0",
            "pci0000:00/0000:00:06.0/0000:04:00.0/nvme/nvme0",
            parts=3,
            wwid="eui.0025388b11b7c3a4",
            device__serial="S676NF0R912345",
        )
        .mapped("dm-0", "252:0", ["nvme0n1p3"], "vgubuntu-root")
        .mount("252:0", "/", "ext4", "/dev/mapper/vgubuntu-root")
        .file("/etc/machine-id", "8c4f6a1d3b2e4907a5c8e1f20b7d9364\n")
    )
    tower = (
        Linux("White-box tower: board left at AMI's defaults, SATA disk, Realtek adapter, a USB adapter")
        .dmi(
            sys_vendor="To Be Filled By O.E.M.",
            product_name="To Be Filled By O.E.M.",
            product_uuid="03000200-0400-0500-0006-000700080009",
            product_serial="To Be Filled By O.E.M.",
            board_serial="M80-E4015300912",
            chassis_serial="Default string",
        )
        .adapter("enp5s0", "d8:bb:c1:5e:20:77", "pci0000:00/0000:00:1c.4/0000:05:00.0", permanent="d8bbc15e2077")
        .adapter("enx00e04c680123", "00:e0:4c:68:01:23", "pci0000:00/0000:00:14.0/usb2/2-3/2-3:1.0", "usb")
        .disk(
            "sda",
            "8:0",
            "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0",
            parts=2,
            device__wwid="t10.ATA     Samsung SSD 860 EVO 500GB               S3Z2NB0K654321X",
        )
        .mount("0:33", "/", "btrfs", "/dev/sda2")
        .file("/etc/machine-id", "f0d3c1b2a4958677865544332211ffee\n")
    )
    server = (
        Linux("Rack server: bonded adapters, root on a RAID 1 of two disks")
        .dmi(
            sys_vendor="Dell Inc.",
            product_name="PowerEdge R650",
            product_uuid="4c4c4544-0059-4310-8034-b7c04f4c3533",
            product_serial="7YC4L53",
            board_serial=".7YC4L53.CNFCP0019G00XB.",
            chassis_serial="7YC4L53",
        )
        .adapter("bond0", "b4:96:91:aa:bb:10", "")
        .adapter(
            "eno1",
            "b4:96:91:aa:bb:10",
            "pci0000:17/0000:17:02.0/0000:18:00.0",
            permanent="b49691aabb10",
            master="bond0",
        )
        .adapter(
            "eno2",
            "b4:96:91:aa:bb:10",
            "pci0000:17/0000:17:02.0/0000:18:00.1",
            assigned="3",
            permanent="b49691aabb11",
            master="bond0",
        )
        .disk(
            "sda",
            "8:0",
            "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0",
            parts=2,
            device__wwid="naa.5002538e40a1b2c3",
        )
        .disk(
            "sdb",
            "8:16",
            "pci0000:00/0000:00:17.0/ata2/host1/target1:0:0/1:0:0:0",
            parts=2,
            device__wwid="naa.5002538e40a1b2d4",
        )
        .mapped("md0", "9:0", ["sda2", "sdb2"])
        .mount("9:0", "/", "xfs", "/dev/md0")
        .file("/etc/machine-id", "1b9e5c7a30f24d86b1c2d3e4f5061728\n")
    )
    vmware = (
        Linux("VMware guest: firmware and adapter, a disk without a serial number")
        .dmi(
            sys_vendor="VMware, Inc.",
            product_name="VMware Virtual Platform",
            product_uuid="564d3c1a-8f2e-9b70-6a51-2d84c0f7e913",
            product_serial="VMware-56 4d 3c 1a 8f 2e 9b 70-6a 51 2d 84 c0 f7 e9 13",
            board_serial="None",
            chassis_serial="No Asset Tag",
        )
        .adapter("ens192", "00:50:56:9a:3c:71", "pci0000:00/0000:00:15.0/0000:0b:00.0", permanent="0050569a3c71")
        .disk("sda", "8:0", "pci0000:00/0000:00:10.0/host2/target2:0:0/2:0:0:0", parts=1)
        .mount("8:1", "/", "ext4", "/dev/sda1")
        .file("/etc/machine-id", "c2a7e9d04b8f4c1e9d3a5b6c7d8e9f01\n")
    )
    hyperv = (
        Linux("Hyper-V guest, generation 2: adapter and disk on the VMBus")
        .dmi(
            sys_vendor="Microsoft Corporation",
            product_name="Virtual Machine",
            product_uuid="b1f7d0a2-5c3e-4f89-9a6b-7c8d9e0f1a2b",
            product_serial="0219-3311-0741-5382-9764-1150-27",
            board_serial="0219-3311-0741-5382-9764-1150-27",
            chassis_serial="0219-3311-0741-5382-9764-1150-27",
        )
        .adapter("eth0", "00:15:5d:38:01:0a", "LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00/9c7f3a10-1111", "vmbus")
        .disk(
            "sda",
            "8:0",
            "LNXSYSTM:00/VMBUS:00/e1a2-disk/host0/target0:0:0/0:0:0:0",
            parts=2,
            device__wwid="naa.60022480b7a1c3d5e7f90123456789ab",
        )
        .mount("8:2", "/", "ext4", "/dev/sda2")
        .file("/etc/machine-id", "77aa11cc22dd33ee44ff5500660a0b0c\n")
    )
    kvm = (
        Linux("QEMU/KVM guest of libvirt: a made-up address, a disk named by the hypervisor")
        .dmi(
            sys_vendor="QEMU",
            product_name="Standard PC (Q35 + ICH9, 2009)",
            product_uuid="9d2c6b1e-7a54-4e03-8b19-c5d7f2e46a80",
            product_serial="Not Specified",
            chassis_serial="Not Specified",
        )
        .adapter("enp1s0", "52:54:00:a1:b2:c3", "pci0000:00/0000:00:02.0/0000:01:00.0/virtio0", "virtio")
        .disk(
            "sda",
            "8:0",
            "pci0000:00/0000:00:05.0/virtio2/host0/target0:0:0/0:0:0:0",
            parts=1,
            device__wwid="t10.QEMU    QEMU HARDDISK   drive-scsi0",
        )
        .mount("8:1", "/", "ext4", "/dev/sda1")
        .file("/etc/machine-id", "5e4d3c2b1a0f49e8d7c6b5a493827160\n")
    )
    aws = (
        Linux("AWS Nitro instance: firmware, an EBS volume with an id, a made-up address")
        .dmi(
            sys_vendor="Amazon EC2",
            product_name="m6i.large",
            product_uuid="ec2d4f61-9b3a-7c85-10de-2f4b6a8c0e13",
            product_serial="ec2d4f61-9b3a-7c85-10de-2f4b6a8c0e13",
            board_serial="Not Specified",
            chassis_serial="Amazon EC2",
        )
        .adapter("ens5", "06:3f:9a:5b:71:c8", "pci0000:00/0000:00:05.0", permanent="063f9a5b71c8")
        .disk("nvme0n1", "259:0", "pci0000:00/0000:00:04.0/nvme/nvme0", parts=1, device__serial="vol0a1b2c3d4e5f60718")
        .mount("259:1", "/", "ext4", "/dev/root")
        .file("/etc/machine-id", "ec2a0b1c2d3e4f5061728394a5b6c7d8\n")
    )
    gcp = (
        Linux("Google Cloud instance: a drive name that every instance has")
        .dmi(
            sys_vendor="Google",
            product_name="Google Compute Engine",
            product_uuid="7f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
            product_serial="GoogleCloud-7F1E2D3C4B5A69788796A5B4C3D2E1F0",
            board_serial="GoogleCloud-7F1E2D3C4B5A69788796A5B4C3D2E1F0",
        )
        .adapter("ens4", "42:01:0a:80:00:05", "pci0000:00/0000:00:04.0/virtio1", "virtio")
        .disk(
            "sda",
            "8:0",
            "pci0000:00/0000:00:03.0/virtio0/host0/target0:0:1/0:0:1:0",
            parts=15,
            device__wwid="t10.Google  PersistentDisk  persistent-disk-0",
        )
        .mount("8:1", "/", "ext4", "/dev/sda1")
        .file("/etc/machine-id", "7f1e2d3c4b5a69788796a5b4c3d2e1f0\n")
    )
    gcp_nvme = (
        Linux("Google Cloud VM, third generation: NVMe disks whose serial is the same everywhere, gVNIC")
        .dmi(
            sys_vendor="Google",
            product_name="Google Compute Engine",
            product_uuid="2c9b8a7f-6e5d-4c3b-a291-8f7e6d5c4b3a",
            product_serial="GoogleCloud-2C9B8A7F6E5D4C3BA2918F7E6D5C4B3A",
        )
        .adapter("ens3", "42:01:0a:80:00:11", "pci0000:00/0000:00:03.0")
        .disk(
            "nvme0n1",
            "259:0",
            "pci0000:00/0000:00:05.0/nvme/nvme0",
            parts=15,
            wwid="nvme.1ae0-6e766d655f636172642d7064-6e766d655f636172642d7064-00000001",
            device__serial="nvme_card-pd        ",
            device__model="nvme_card-pd                            ",
        )
        .mount("259:1", "/", "ext4", "/dev/nvme0n1p1")
        .file("/etc/machine-id", "2c9b8a7f6e5d4c3ba2918f7e6d5c4b3a\n")
    )
    pi = (
        Linux("Raspberry Pi 4: device-tree serial, adapter on the chip, Wi-Fi on SDIO, SD card")
        .adapter("eth0", "e4:5f:01:2a:9c:d3", "platform/scb/fd580000.ethernet", "platform")
        .adapter("wlan0", "e4:5f:01:2a:9c:d4", "platform/soc/fe300000.mmcnr/mmc1/mmc1:0001/mmc1:0001:1", "sdio")
        .disk(
            "mmcblk0",
            "179:0",
            "platform/emmc2bus/fe340000.mmc/mmc0/mmc0:aaaa",
            parts=2,
            device__cid="03534453433332478012ab34cd0147b1",
            device__serial="0x12ab34cd",
        )
        .mount("179:2", "/", "ext4", "/dev/mmcblk0p2")
        .file("/proc/device-tree/serial-number", "10000000f3a91c42\x00")
        .file("/etc/machine-id", "a1b2c3d4e5f60718293a4b5c6d7e8f90\n")
    )
    wsl = (
        Linux("WSL 2: a kernel of Microsoft, an adapter with a new address at every start, a virtual disk")
        .file("/proc/sys/kernel/osrelease", "5.15.153.1-microsoft-standard-WSL2\n")
        .adapter("eth0", "00:15:5d:b3:52:19", "LNXSYSTM:00/VMBUS:00/a7b8c9d0", "vmbus")
        .disk(
            "sdc",
            "8:32",
            "LNXSYSTM:00/VMBUS:00/fd1d2cbd/host0/target0:0:0/0:0:0:2",
            device__wwid="naa.600224803f1c2a9b4d5e6f708192a3b4",
        )
        .mount("8:32", "/", "ext4", "/dev/sdc")
        .file("/etc/machine-id", "d41c8e7f6a5b40392817161514131211\n")
    )
    docker = (
        Linux("Docker container on a laptop: overlay root, the image's machine-id, the host's disk below /etc/hosts")
        .dmi(
            sys_vendor="LENOVO",
            product_name="21CBCTO1WW",
            product_uuid="3ff4aecc-2d21-11b2-a85c-c1dd6a0c9f2e",
            product_serial="PF3XK7QL",
            board_serial="L1HF2CJ01PB",
            chassis_serial="PF3XK7QL",
        )
        .adapter("eth0", "02:42:ac:11:00:02", "")
        .disk(
            "nvme0n1",
            "259:0",
            "pci0000:00/0000:00:06.0/0000:04:00.0/nvme/nvme0",
            parts=3,
            device__serial="S676NF0R912345",
        )
        .mount("0:61", "/", "overlay", "overlay")
        .mount("259:3", "/etc/resolv.conf", "ext4", "/dev/nvme0n1p3")
        .mount("259:3", "/etc/hostname", "ext4", "/dev/nvme0n1p3")
        .mount("259:3", "/etc/hosts", "ext4", "/dev/nvme0n1p3")
        .file("/.dockerenv", "")
        .file("/etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
        .file("/proc/self/cgroup", "0::/\n")
    )
    bare_docker = (
        Linux("Docker container in a microVM: nothing of the host can be seen", account=("1000", "runner"))
        .adapter("eth0", "02:42:ac:11:00:02", "")
        .mount("0:61", "/", "overlay", "overlay")
        .mount("0:62", "/etc/hosts", "tmpfs", "tmpfs")
        .file("/.dockerenv", "")
        .file("/etc/machine-id", "9a8b7c6d5e4f40312213344556677889\n")
        .file("/proc/self/cgroup", "0::/\n")
    )
    podman = (
        Linux(
            "Rootless Podman: root inside is an ordinary user outside, so firmware stays out of reach",
            account=("0", "root"),
        )
        .adapter("tap0", "02:11:22:33:44:56", "")
        .mount("0:55", "/", "fuse-overlayfs", "fuse-overlayfs")
        .mount("0:40", "/etc/hosts", "btrfs", "/dev/sda2")
        .disk(
            "sda",
            "8:0",
            "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0",
            parts=2,
            device__wwid="t10.ATA     Samsung SSD 860 EVO 500GB               S3Z2NB0K654321X",
        )
        .file("/run/.containerenv", 'engine="podman-4.9.4"\nrootless=1\n')
        .file("/etc/machine-id", "\n")
    )
    pod = (
        Linux("Kubernetes pod on a cloud node: the node's disk below /etc/hosts", account=("65532", "nonroot"))
        .adapter("eth0", "3a:5c:11:9e:70:0b", "")
        .disk("nvme0n1", "259:0", "pci0000:00/0000:00:04.0/nvme/nvme0", parts=1, device__serial="vol0f9e8d7c6b5a43210")
        .mount("0:71", "/", "overlay", "overlay")
        .mount("259:1", "/etc/hosts", "xfs", "/dev/nvme0n1p1")
        .mount("0:80", "/run/secrets/kubernetes.io/serviceaccount", "tmpfs", "tmpfs", "ro,relatime")
        .file("/proc/self/cgroup", "0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-4f1c.scope\n")
        .file("/etc/machine-id", "uninitialized\n")
    )
    pod.environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    runner = (
        Linux("Hosted CI runner: a fresh cloud VM for every job, from one image", account=("1001", "runner"))
        .dmi(
            sys_vendor="Microsoft Corporation",
            product_name="Virtual Machine",
            product_uuid="0f3a9c71-52d8-4be6-a9f0-6b1d2c3e4f50",
            product_serial="0000-0015-8294-4310-6627-9071-38",
        )
        .adapter("eth0", "00:0d:3a:5e:91:07", "LNXSYSTM:00/VMBUS:00/000d3a5e-9107", "vmbus")
        .adapter("docker0", "02:42:3b:5a:10:ee", "")
        .disk(
            "sda",
            "8:0",
            "LNXSYSTM:00/VMBUS:00/f8b3781a/host0/target0:0:0/0:0:0:0",
            parts=1,
            device__wwid="naa.60022480a9b8c7d6e5f4031221304f5e",
        )
        .mount("8:1", "/", "ext4", "/dev/root")
        .file("/etc/machine-id", "2f1e0d9c8b7a46958473625140312213\n")
    )
    runner.environ = {"CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_NAME": "Hosted Agent"}
    microvm = (
        Linux("Firecracker microVM made from a container image: every trap at once", account=("0", "root"))
        .adapter("eth0", "02:fc:00:00:00:01", "pci0000:00/0000:00:03.0/virtio2", "virtio", permanent="02fc00000001")
        .adapter("ifb0", "ce:11:22:33:44:55", "")
        .disk("vda", "254:0", "pci0000:00/0000:00:02.0/virtio1", serial="overlayblk")
        .mount("254:0", "/", "ext4", "/dev/vda")
        .file("/.dockerenv", "")
        .file("/etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n")
        .file("/proc/cpuinfo", "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu vme hypervisor lahf_lm\n")
    )
    return {
        "linux-laptop": laptop,
        "linux-tower": tower,
        "linux-server": server,
        "linux-vmware": vmware,
        "linux-hyperv": hyperv,
        "linux-kvm": kvm,
        "linux-aws": aws,
        "linux-gcp": gcp,
        "linux-gcp-nvme": gcp_nvme,
        "linux-raspberry-pi": pi,
        "linux-wsl2": wsl,
        "linux-docker": docker,
        "linux-docker-bare": bare_docker,
        "linux-podman-rootless": podman,
        "linux-kubernetes": pod,
        "linux-ci-runner": runner,
        "linux-microvm": microvm,
    }


# -- Windows ----------------------------------------------------------------------------------------------------------


def smbios(version: tuple[int, int], uuid: str, serials: tuple[str, str, str]) -> bytes:
    """Return RawSMBIOSData with BIOS, system, board and chassis structures; ``uuid`` as the bytes in the table."""
    system, board, chassis = serials
    structures = [
        bytes([0, 24, 0, 0, 1, 2, 0, 0xE0, 3]).ljust(24, b"\0") + b"Vendor Inc.\x001.35\x0001/02/2023\0\0",
        bytes([1, 27, 1, 0, 1, 2, 3, 4])
        + bytes.fromhex(uuid)
        + bytes([6, 0, 0])
        + b"Vendor Inc.\0Model\x001.0\0"
        + system.encode()
        + b"\0\0",
        bytes([2, 15, 2, 0, 1, 2, 3, 4]).ljust(15, b"\0") + b"Vendor Inc.\0Board\x001.0\0" + board.encode() + b"\0\0",
        bytes([3, 22, 3, 0, 1, 10, 2, 3]).ljust(22, b"\0") + b"Vendor Inc.\x001.0\0" + chassis.encode() + b"\0\0",
        bytes([127, 4, 4, 0]) + b"\0\0",
    ]
    table = b"".join(structures)
    return bytes([0, *version, 0]) + len(table).to_bytes(4, "little") + table


def descriptor(serial: str, bus: int, product: str = "SSD") -> bytes:
    """Return a STORAGE_DEVICE_DESCRIPTOR."""
    strings = b"Vendor  \0" + product.encode() + b"\0"
    at = 36 + len(strings)
    head = (40).to_bytes(4, "little") + (at + len(serial) + 1).to_bytes(4, "little") + bytes([0, 0, 0, 1])
    offsets = [36, 45, 0, at if serial else 0]
    body = head + b"".join(value.to_bytes(4, "little") for value in [*offsets, bus]) + bytes(4)
    return body + strings + serial.encode() + b"\0"


def reg(keys: dict[str, dict[str, str]]) -> bytes:
    """Return a registry export as ``reg export`` writes it: UTF-16 with BOM, CRLF."""
    lines = ["Windows Registry Editor Version 5.00", ""]
    for key, values in keys.items():
        lines.append(f"[HKEY_LOCAL_MACHINE\\{key}]")
        for name, value in values.items():
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            lines.append(f'"{name}"="{escaped}"')
        lines.append('"Characteristics"=dword:00000084')
        lines.append("")
    return b"\xff\xfe" + "\r\n".join(lines).encode("utf-16-le")


def windows(
    about: str,
    *,
    guid: str,
    table: bytes,
    adapters: list[tuple[str, str, str, str]],
    disks: list[bytes],
    account: tuple[str, str],
    maker: tuple[str, str],
) -> dict:
    keys = {
        r"SOFTWARE\Microsoft\Cryptography": {"MachineGuid": guid} if guid else {},
        r"HARDWARE\DESCRIPTION\System\BIOS": {"SystemManufacturer": maker[0], "SystemProductName": maker[1]},
        r"HARDWARE\DESCRIPTION\System\CentralProcessor\0": {"ProcessorNameString": "Intel(R) Core(TM) i7-1365U  "},
        ADAPTERS + r"\Configuration": {},
    }
    macs = {}
    for number, (description, path, interface, address) in enumerate(adapters):
        keys[f"{ADAPTERS}\\{number:04}"] = {
            "DriverDesc": description,
            "DeviceInstanceID": path,
            "NetCfgInstanceId": interface,
        }
        if address:
            macs[interface] = address
    return {
        "machine": {
            "platform": "windows",
            "about": about,
            "account": list(account),
            "environ": {},
            "denied": [],
            "permanent_macs": macs,
            "files": {},
            "links": {},
            "tools": {},
            "system_disks": [disk.hex() for disk in disks],
        },
        "registry.reg": reg(keys),
        "smbios.hex": (table.hex() + "\n").encode(),
    }


def windows_machines() -> dict[str, dict]:
    vpn = ("TAP-Windows Adapter V9", r"ROOT\NET\0000", "{11111111-0000-4000-8000-00000000000A}", "00ff1a2b3c4d")
    bluetooth = (
        "Bluetooth-Gerät (PAN)",
        r"BTH\MS_BTHPAN\7&2C6E1B5F&0&2",
        "{22222222-0000-4000-8000-00000000000B}",
        "f47b0996e3c5",
    )
    return {
        "windows-laptop": windows(
            "Laptop with German Windows 11: board adapter, Wi-Fi, a VPN and a Bluetooth adapter, NVMe disk",
            guid="6f1d2c3b-4a59-4687-9786-a5b4c3d2e1f0",
            table=smbios((3, 4), "ccaef43f212db211a85cc1dd6a0c9f2e", ("PF3XK7QL", "L1HF2CJ01PB", "PF3XK7QL")),
            adapters=[
                (
                    "Intel(R) Ethernet Connection (16) I219-LM",
                    r"PCI\VEN_8086&DEV_1A1E&SUBSYS_22E717AA&REV_01\3&11583659&0&FE",
                    "{33333333-0000-4000-8000-00000000000C}",
                    "9c2dcd314fa0",
                ),
                (
                    "Intel(R) Wi-Fi 6E AX211 160MHz",
                    r"PCI\VEN_8086&DEV_51F0&SUBSYS_00948086&REV_01\3&11583659&0&A3",
                    "{44444444-0000-4000-8000-00000000000D}",
                    "f47b0996e3c1",
                ),
                (
                    "Lenovo USB Ethernet",
                    r"USB\VID_17EF&PID_720C\000001000000",
                    "{55555555-0000-4000-8000-00000000000E}",
                    "5c857e3b2a10",
                ),
                vpn,
                bluetooth,
            ],
            disks=[descriptor("0025_388B_11B7_C3A4.", 17)],
            account=("S-1-5-21-3623811015-3361044348-30300820-1001", "BÜRO-PC\\Jörg"),
            maker=("LENOVO", "21CBCTO1WW"),
        ),
        "windows-tower": windows(
            "White-box tower: firmware left at its defaults, SATA disk, one adapter without a driver",
            guid="0c9b8a79-6857-4635-a241-302f1e0dfceb",
            table=smbios(
                (2, 8),
                "00020003000400050006000700080009",
                ("System Serial Number", "To be filled by O.E.M.", "Default string"),
            ),
            adapters=[
                (
                    "Realtek PCIe 2.5GbE Family Controller",
                    r"PCI\VEN_10EC&DEV_8125&SUBSYS_87D71043&REV_05\01000000684CE00000",
                    "{66666666-0000-4000-8000-00000000000F}",
                    "d8bbc15e2077",
                ),
                (
                    "Old adapter",
                    r"PCI\VEN_10EC&DEV_8168&SUBSYS_00000000&REV_15\4&AAAA",
                    "{77777777-0000-4000-8000-00000000001A}",
                    "",
                ),
            ],
            disks=[descriptor("S3Z2NB0K654321X     ", 11)],
            account=("S-1-5-21-1004336348-1177238915-682003330-500", "TOWER\\Administrator"),
            maker=("To be filled by O.E.M.", "To be filled by O.E.M."),
        ),
        "windows-hyperv": windows(
            "Windows Server as Hyper-V guest: adapter on the VMBus, a disk kept in a file",
            guid="a1b2c3d4-e5f6-4708-9192-a3b4c5d6e7f8",
            table=smbios(
                (3, 1),
                "a2d0f7b13e5c894f9a6b7c8d9e0f1a2b",
                ("0219-3311-0741-5382-9764-1150-27", "0219-3311-0741-5382-9764-1150-27", ""),
            ),
            adapters=[
                (
                    "Microsoft Hyper-V Network Adapter",
                    r"VMBUS\{F8615163-DF3E-46C5-913F-F2D2F965ED0E}\{9C7F3A10}",
                    "{88888888-0000-4000-8000-00000000001B}",
                    "00155d38010a",
                )
            ],
            disks=[descriptor("", 15, "Virtual Disk")],
            account=("S-1-5-21-111-222-333-1104", "CORP\\svc-kre"),
            maker=("Microsoft Corporation", "Virtual Machine"),
        ),
        "windows-damaged": windows(
            "A machine that tells little: a truncated firmware table, no MachineGuid, no adapter that answers",
            guid="",
            table=smbios((3, 4), "ccaef43f212db211a85cc1dd6a0c9f2e", ("PF3XK7QL", "", ""))[:60],
            adapters=[vpn],
            disks=[b"\0" * 8],
            account=("S-1-5-18", "NT AUTHORITY\\SYSTEM"),
            maker=("", ""),
        ),
    }


# -- macOS ------------------------------------------------------------------------------------------------------------

PLATFORM = "/usr/sbin/ioreg -a -r -d 1 -c IOPlatformExpertDevice"
CONTROLLERS = "/usr/sbin/ioreg -a -r -d 2 -c IOEthernetController"


def controller(name: str, address: str, *, built_in: bool) -> dict:
    """Return a registry entry of a network controller with its interface."""
    return {
        "IOClass": "AppleEthernetAquantiaAqtion",
        "IOMACAddress": bytes.fromhex(address),
        "IORegistryEntryChildren": [{"BSD Name": name, "IOBuiltin": built_in, "IOObjectClass": "IOEthernetInterface"}],
    }


def mac(about: str, *, account: tuple[str, str], platform: dict | None, controllers: list[dict] | None) -> dict:
    tools, files = {}, {}
    for command, file, entries in (
        (PLATFORM, "ioreg-platform.plist", platform and [platform]),
        (CONTROLLERS, "ioreg-ethernet.plist", controllers),
    ):
        if entries is not None:
            tools[command] = file
            files[file] = plistlib.dumps(entries) if entries else b""
    machine = {
        "platform": "macos",
        "about": about,
        "account": list(account),
        "environ": {},
        "denied": [],
        "permanent_macs": {},
        "files": {},
        "links": {},
        "tools": tools,
        "system_disks": [],
    }
    return {"machine": machine, **files}


def macs() -> dict[str, dict]:
    return {
        "macos-laptop": mac(
            "MacBook with Apple silicon: Thunderbolt bridges with made-up addresses, a USB adapter",
            account=("8A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9", "avlacey"),
            platform={
                "IOPlatformUUID": "5B2D0C1E-7F3A-5C84-9D6E-0A1B2C3D4E5F",
                "IOPlatformSerialNumber": "C02FV1A2Q6L4",
                "model": b"MacBookPro18,3\0",
            },
            controllers=[
                controller("en1", "36a1b2c3d4e5", built_in=True),
                controller("en5", "5c857e3b2a11", built_in=False),
            ],
        ),
        "macos-mini": mac(
            "Intel Mac mini with an adapter on the board",
            account=("1C2D3E4F-5061-7283-94A5-B6C7D8E9F0A1", "grace"),
            platform={
                "IOPlatformUUID": "0E1F2A3B-4C5D-5E6F-8091-A2B3C4D5E6F7",
                "IOPlatformSerialNumber": "C07ZX3KDJYVX",
            },
            controllers=[
                controller("en0", "acde48001122", built_in=True),
                controller("en0", "a860b6112233", built_in=True),
            ],
        ),
        "macos-no-tools": mac(
            "A Mac on which ioreg cannot be run",
            account=("501", "avlacey"),
            platform=None,
            controllers=None,
        ),
    }


def folders() -> dict[str, dict[str, bytes]]:
    """Return every file of every recording: folder name -> file name -> content."""
    written = {}
    everything = {name: {"machine": machine.recording()} for name, machine in linux_machines().items()}
    everything |= windows_machines() | macs()
    for name, parts in everything.items():
        files = {file: content for file, content in parts.items() if file != "machine"}
        text = json.dumps(parts["machine"], indent=1, ensure_ascii=False, sort_keys=True) + "\n"
        written[name] = {"machine.json": text.encode(), **files}
    return written


def main() -> int:
    """Write all folders."""
    for name, files in folders().items():
        (HERE / name).mkdir(exist_ok=True)
        for file, content in files.items():
            (HERE / name / file).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
