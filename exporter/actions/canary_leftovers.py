"""Which records of a cache are a canary's, and which are everybody else's."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from exporter.buildkit import control_pb2 as pb
from exporter.canaries import CANARY_PREFIX

_MARK = re.compile(re.escape(CANARY_PREFIX) + "[0-9a-f]+")
_PULLED = "pulled from "

# What BuildKit 0.8 (Engine 20.10) calls every directory that no command made.
_NAMELESS = "fileop target"


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a canary left, and those before it that were killed or could not clean up."""

    own: frozenset[str]
    """IDs of the records that this canary made."""
    removable: frozenset[str]
    """What is to go. BuildKit keeps of it what it uses, or what others made something from."""
    pulled: bool
    """Whether this canary's base image came from a registry."""


@dataclass(frozen=True, slots=True)
class Traces:
    """What a canary can be told by."""

    mark: str
    base_image: str
    dockerfile: int
    """The size of its Dockerfile in bytes."""
    before: AbstractSet[str]
    """IDs of the records that were there before it."""

    def find(self, records: Iterable[pb.UsageRecord]) -> Leftovers:
        """Tell canaries' records from users'.

        What a canary makes has its mark in the description; BuildKit 0.8 alone does not tell its
        Dockerfile by that, only by the size. What the rest was made from, and is younger than the
        first of them, is a base image that it pulled. So as long as BuildKit holds one of them,
        which 0.32 does with a cancelled command's until it is started anew, the first one stays.
        """
        by_id = {record.ID: record for record in sorted(records, key=_created)}
        made: defaultdict[str, list[str]] = defaultdict(list)
        for record in by_id.values():
            if found := _MARK.search(record.Description):
                made[found[0]].append(record.ID)
            elif self._is_dockerfile(record):
                made[self.mark].append(record.ID)
        removable: set[str] = set()
        for ids in made.values():
            free = [i for i in ids if not by_id[i].InUse]
            removable.update((*ids, *_base_image(ids, by_id)) if free == ids else free[1:])
        own = made[self.mark]
        # Nothing was made from it where the first command could not run.
        named = {i for i, record in by_id.items() if self._is_base(record)}
        base = _base_image(own, by_id) | named
        return Leftovers(
            own=frozenset(own),
            removable=frozenset(removable | named),
            pulled=any(by_id[i].Description.startswith(_PULLED) for i in base),
        )

    def _is_dockerfile(self, record: pb.UsageRecord) -> bool:
        made_from = record.Parent or record.Parents
        nameless = record.Description == _NAMELESS and not made_from
        return nameless and record.Size == self.dockerfile and record.ID not in self.before

    def _is_base(self, record: pb.UsageRecord) -> bool:
        _, pulled, image = record.Description.partition(_PULLED)
        same = pulled and _short_name(image) == _short_name(self.base_image)
        return bool(same) and record.ID not in self.before


def _base_image(made: Sequence[str], by_id: Mapping[str, pb.UsageRecord]) -> set[str]:
    """Find what these were made from, as far as it is younger than the first of them."""
    found: set[str] = set()
    todo = list(made)
    while todo:
        record = by_id[todo.pop()]
        parents = {i for i in (*record.Parents, record.Parent) if i in by_id} - found
        young = {i for i in parents if _created(by_id[i]) > _created(by_id[made[0]])}
        found |= young
        todo += young
    return found.difference(made)


def _created(record: pb.UsageRecord) -> int:
    return record.CreatedAt.ToNanoseconds()


def _short_name(image: str) -> str:
    """The last part of an image's name, without tag and digest."""
    return re.split("[:@]", image.rpartition("/")[2])[0]
