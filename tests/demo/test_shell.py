"""What a simulated machine makes of a command."""

from __future__ import annotations

import pytest

from exporter.demo.shell import Act, Hash, Remove, Sleep, Write, read

MIB = 1024**2


@pytest.mark.parametrize(
    ("command", "acts", "status"),
    [
        ("head -c 4096 /dev/urandom >/block", [Write("/block", 4096)], 0),
        (": mark; head -c 300 /dev/zero | sha256sum", [Hash(300)], 0),
        ("cat /old /old | md5sum > /dev/null", [Hash(14)], 0),
        ("sha512sum /old", [Hash(7)], 0),
        ("head -c 99 /old > /new", [Write("/new", 7)], 0),
        ("dd if=/dev/zero of=/x bs=1M count=3 conv=fsync 2>&1", [Write("/x", 3 * MIB)], 0),
        ("cat /old | dd of=/x bs=2 count=2", [Write("/x", 4)], 0),
        ("cat /old | dd bs=4k > /x && rm /x", [Write("/x", 7), Remove("/x")], 0),
        ("cd /etc && dd if=/old of=x/../y bs=4 count=1", [Write("/etc/y", 4)], 0),
        ("head -c 2 /old >>/old; cat /old > /x", [Write("/old", 2, 7, False), Write("/x", 9)], 0),
        (
            "dd if=/old of=/old bs=4 seek=1 count=1 conv=notrunc; dd if=/old of=/x",
            [Write("/old", 4, 4, False), Write("/x", 8)],
            0,
        ),
        (
            "dd if=/dev/null of=/old conv=notrunc,fsync; sha1sum /old",
            [Write("/old", 0, 0, False), Hash(7)],
            0,
        ),
        ("dd if=/dev/zero of=/dev/null bs=1M", [], 0),
        ("touch /x && [ -e /x ] && [ ! -e /y ]", [Write("/x", 0, 0, False)], 0),
        ("[ -e /x ] || exit 4", [], 4),
        ("[ ! -e /old ] || exit 5", [], 5),
        ("dd if=/old of=/x bs=4 count=9", [Write("/x", 7)], 0),
        ("rm /nowhere", [], 0),
        ("{ cat /old; head -c 3 /old; } | dd of=/x", [Write("/x", 10)], 0),
        (
            'set --; while [ $# -lt 5 ]; do set -- "$@" /old; done; cat "$@" > /x',
            [Write("/x", 35)],
            0,
        ),
        ("sleep 3; sleep 4", [Sleep(3), Sleep(4)], 0),
        ("false && sleep 1", [], 1),
        ("false || sleep 1", [Sleep(1)], 0),
        ("true || sleep 1", [], 0),
        ("sleep 1 && exit 3; sleep 2", [Sleep(1)], 3),
        ("echo 'no end", [], 2),
        ("while true; do :; done", [], 2),
        ("apt-get update && make -j4", [], 0),
    ],
)
def test_commands(command: str, acts: list[Act], status: int) -> None:
    assert read(command, {"/old": 7}) == (acts, status)
