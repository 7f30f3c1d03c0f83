"""Numbers and texts as people read them."""

from __future__ import annotations

from datetime import UTC, datetime


def size(number: float) -> str:
    """Bytes with a binary unit: ``1.4 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if round(abs(number), 1) < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def share(part: float, whole: float) -> str:
    """A share of a whole: ``15 %``. A dash where the whole is nothing."""
    return f"{100 * part / whole:.0f} %" if whole else "-"


def count(number: int, noun: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def line(text: str) -> str:
    """What somebody else said, in one line of printable characters: the others act on terminals."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace()).split())


def day(moment: float) -> str:
    """The day of a point in time, in UTC: ``2027-01-31``."""
    return datetime.fromtimestamp(moment, UTC).date().isoformat()


def duration(seconds: float) -> str:
    """Seconds with their two largest units: ``45 s``, ``12 min``, ``3 h 20 min``, ``2 d 4 h``."""
    rest = round(seconds)
    if rest < 60:
        return f"{rest} s"
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if rest >= length or parts:
            if number := rest // length:
                parts.append(f"{number} {unit}")
            rest %= length
    return " ".join(parts[:2])
