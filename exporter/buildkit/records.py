"""The sizes of cache records, as BuildKit adds them up."""

from __future__ import annotations

from collections.abc import Iterable

from exporter.buildkit import control_pb2 as pb


def size_of(record: pb.UsageRecord) -> int:
    """Bytes of a record. One that BuildKit has not measured yet says -1, and counts as nothing."""
    return max(record.Size, 0)


def total(records: Iterable[pb.UsageRecord]) -> int:
    """Bytes of these records."""
    return sum(size_of(record) for record in records)


def own(records: Iterable[pb.UsageRecord]) -> int:
    """Bytes of those that no image shares: what BuildKit compares with what to keep."""
    return sum(size_of(record) for record in records if not record.Shared)
