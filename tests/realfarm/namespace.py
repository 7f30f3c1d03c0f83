"""A machine of its own made of namespaces: network, mounts, processes, host name."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.realfarm.shell import FarmError, run, wait_for
from tests.realfarm.slots import Slot

_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/farm",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}
# The first process of the machine. Overlay and /run are in memory, and the loop device is given
# back by the kernel: all of it goes with the last process. `wait` also reaps orphans.
_INIT = """\
hostname "$NAME"
mount -t tmpfs -o mode=0755 tmpfs "$STAGE"
mkdir "$STAGE/upper" "$STAGE/work" "$STAGE/root"
cd "$STAGE"
mount -t overlay -o "lowerdir=$LOWER,upperdir=upper,workdir=work" overlay root
cd root
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t proc proc proc
mount -t tmpfs -o mode=0755 tmpfs run
mkdir run/sshd run/old
mount --bind "$TOOLS" opt/farm
if [ -n "$SHARED" ]; then
    mkdir -p ".$SHARED"
    mount --rbind "$SHARED" ".$SHARED"
elif [ -n "$DISK" ]; then
    mount -o loop "$DISK" ".$MOUNT"
fi
echo "127.0.0.1 localhost $NAME" > etc/hosts
pivot_root . run/old
umount -l /run/old
rmdir /run/old
echo ready
exec >/dev/null
while :; do sleep 3600 & wait $!; done
"""


@dataclass(frozen=True, slots=True)
class Disk:
    """An ext4 file system of a given size, in a file."""

    size_mb: int
    inodes: int
    mount: str
    """Where it is on the node."""


@dataclass(slots=True)
class Machine:
    """The namespaces of one node, and ways into them."""

    name: str
    address: str
    slot: Slot
    init: int
    """The machine's first process, as this machine counts."""

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout: float = 60,
        stdin: bytes | str = b"",
        check: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end on the machine, as root."""
        inside = _ENVIRONMENT | dict(env or {})
        return run([*self._enter(), *argv], timeout=timeout, stdin=stdin, check=check, env=inside)

    def spawn(self, argv: Sequence[str | Path], log: Path) -> subprocess.Popen[bytes]:
        """Start a command on the machine; its output is added to ``log``."""
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*self._enter(), *(str(word) for word in argv)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=_ENVIRONMENT,
                start_new_session=True,  # Ctrl-C is for pytest, which then takes the farm down
            )
        self.slot.children.append(process)
        return process

    def path(self, inside: str) -> Path:
        """A path of the machine as this machine can open it, sockets too."""
        return Path(f"/proc/{self.init}/root") / inside.lstrip("/")

    def _enter(self) -> list[str]:
        # `ip netns exec` would hide the control groups under a /sys of its own.
        kinds = ["--mount", "--pid", "--uts", "--ipc", "--net"]
        return ["nsenter", f"--target={self.init}", *kinds, "--"]


def make_machine(
    slot: Slot,
    name: str,
    host: int,
    lower: Path,
    tools: Path,
    disk: Disk | None,
    shared: Path | None,
) -> Machine:
    """Raise a machine: an interface on the farm's bridge, its root file system, its disk.

    With ``shared``, this machine and the node both see that folder, and the disk mounted in it.
    """
    own, address = slot.name(name), slot.address(host)
    _plug_in(slot, own, address)
    stage = slot.disks / name
    (stage / "root").mkdir(parents=True)
    if disk is not None:
        make_disk(disk, stage / "disk")
    if shared is not None:
        shared.mkdir(parents=True)
        if disk is not None:
            Path(disk.mount).mkdir(parents=True)
            run(["mount", "-o", "loop", stage / "disk", disk.mount])
    settings = {
        "NAME": name,
        "STAGE": str(stage / "root"),
        "LOWER": str(lower),
        "TOOLS": str(tools),
        "SHARED": str(shared or ""),
        "DISK": str(stage / "disk" if disk else ""),
        "MOUNT": disk.mount if disk else "",
    }
    unshare = ["unshare", "--mount", "--pid", "--uts", "--ipc"]
    with (stage / "init.log").open("w") as log:
        holder = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{own}", *unshare, "--fork", "sh", "-euc", _INIT],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=_ENVIRONMENT | settings,
            start_new_session=True,
        )
    slot.children.append(holder)
    assert holder.stdout is not None
    with holder.stdout as out:
        said = out.readline()
    if said != "ready\n":
        raise FarmError(f"node {name}: no namespaces: {(stage / 'init.log').read_text().strip()}")
    return Machine(name, address, slot, child_of(holder.pid))


def make_bridge(slot: Slot) -> None:
    """Make the farm's network; this machine is its ``.1``."""
    run(["ip", "link", "add", slot.prefix, "type", "bridge"])
    run(["ip", "address", "add", f"{slot.address(1)}/24", "dev", slot.prefix])
    run(["ip", "link", "set", slot.prefix, "up"])


def make_disk(disk: Disk, file: Path) -> None:
    """Make the file system; its inodes are what ``mkfs.ext4`` rounds the wish to."""
    with file.open("wb") as image:
        image.truncate(disk.size_mb << 20)
    run(["mkfs.ext4", "-q", "-F", "-N", str(disk.inodes), file])


def child_of(pid: int) -> int:
    """The only child of a process, once it has one."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    wait_for(f"child of process {pid}", lambda: children.read_text().split(), every=0.01)
    return int(children.read_text().split()[0])


def _plug_in(slot: Slot, own: str, address: str) -> None:
    run(["ip", "netns", "add", own])
    inside = ["ip", "-netns", own]
    run(["ip", "link", "add", own, "type", "veth", "peer", "name", "eth0", "netns", own])
    run(["ip", "link", "set", own, "master", slot.prefix, "up"])
    run([*inside, "address", "add", f"{address}/24", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "link", "set", "lo", "up"])
