"""What a client wants: ``Accept`` and ``Accept-Encoding`` with their weights (RFC 9110, 12.5)."""

from __future__ import annotations


def favourites(accept: str) -> str:
    """Return of an ``Accept`` header the kinds that the client likes best, as it wrote them."""
    weighed = [(item.strip(), _weight(item)) for item in accept.split(",")]
    most = max(weight for _, weight in weighed)
    return ",".join(item for item, weight in weighed if weight == most)


def accepts_gzip(accept_encoding: str) -> bool:
    """Tell whether gzip is allowed, and not liked less than no encoding."""
    weights = {
        item.partition(";")[0].strip(): _weight(item) for item in accept_encoding.lower().split(",")
    }
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _weight(item: str) -> float:
    for parameter in item.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
