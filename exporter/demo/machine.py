"""The state of one simulated node: its disk, its builders, its Docker volumes. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random

from exporter.buildkit.builders import BARE, CONTAINER_PREFIX, EMBEDDED, STATE_SUFFIX
from exporter.buildkit.platforms import is_native
from exporter.demo.blueprints import Blueprint, BuilderPlan
from exporter.demo.builder import SimulatedBuilder
from exporter.demo.cache import Record
from exporter.model import Disk

BLOCK = 4096
DOCKER_ROOT = "/var/lib/docker"
BUILDKIT_ROOT = "/var/lib/buildkit"

# ext4 keeps this share for root; nobody else may write there.
_RESERVED = 0.05

_SHARED_WITH_IMAGES = 0.35

_VARIANTS = {
    "amd64": ("amd64", "amd64/v2", "amd64/v3", "386"),
    "arm64": ("arm64", "arm/v7", "arm/v6"),
}

# How much longer QEMU takes for the same, and the spread of all times.
_EMULATION = 6.0
_NOISE = 0.04


class Daemon(StrEnum):
    """How the Docker Engine, or a bare buildkitd, is."""

    RUNNING = "running"
    HUNG = "hung"
    """Its socket is open and nobody answers."""
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Container:
    """A builder's container."""

    id: str
    builder: SimulatedBuilder

    @property
    def name(self) -> str:
        """As buildx names it."""
        return CONTAINER_PREFIX + self.builder.name


@dataclass(frozen=True, slots=True)
class Image:
    """An image without a name in the Engine, that a build left there."""

    labels: Mapping[str, str]
    layers: tuple[Record, ...]
    """Those that no image had before it."""


class Machine:
    """A node's state, made from a blueprint."""

    def __init__(self, blueprint: Blueprint, rng: Random, clock: Callable[[], float]) -> None:
        self.blueprint = blueprint
        self.daemon = Daemon.RUNNING
        self.builders: dict[str, SimulatedBuilder] = {}
        """By the value of the label ``builder``."""
        self.containers: dict[str, Container] = {}
        """By ID."""
        self.orphans: dict[str, int] = dict(blueprint.orphans)
        """Volumes that no container uses, and their sizes."""
        self.images: dict[str, Image] = {}
        """By ID: what builds made."""
        self.cpu: float = blueprint.cpu
        """Bytes that it hashes in a second."""
        self.clock = clock
        self._rng = rng
        if blueprint.remote:
            self._add(blueprint.builders[0], BARE.name)
        else:
            embedded = replace(blueprint.embedded, version=blueprint.engine.buildkit)
            self._add(embedded, EMBEDDED.name)
            for plan in blueprint.builders:
                self.add_builder(plan)

    @property
    def root(self) -> str:
        """The directory whose filesystem the caches are on."""
        return BUILDKIT_ROOT if self.blueprint.remote else DOCKER_ROOT

    @property
    def platforms(self) -> tuple[str, ...]:
        """What its builders offer, the emulated ones last."""
        native = (f"linux/{variant}" for variant in _VARIANTS[self.blueprint.arch])
        return (*native, *self.blueprint.emulated)

    @property
    def disk(self) -> Disk:
        """The filesystem as it is now."""
        plan = self.blueprint
        caches = [builder.cache for builder in self.builders.values()]
        used = plan.disk_base + sum(c.size for c in caches) + sum(self.orphans.values())
        files = plan.disk_base // 24576 + sum(c.inodes for c in caches)
        blocks = plan.disk_size // BLOCK
        free = blocks - int(blocks * _RESERVED) - -(-used // BLOCK)
        return Disk(
            path=self.root,
            size=blocks * BLOCK,
            available=max(free, 0) * BLOCK,
            inodes=plan.inodes,
            inodes_free=max(plan.inodes - files, 0),
        )

    @property
    def volumes(self) -> Mapping[str, int]:
        """Every volume and its size, those that no container uses too."""
        used = {
            container.name + STATE_SUFFIX: container.builder.cache.size
            for container in self.containers.values()
        }
        return {**used, **self.orphans}

    def noise(self) -> float:
        """Nothing takes the same time twice: a factor around 1."""
        return self._rng.lognormvariate(0.0, _NOISE)

    def hashing(self, size: int, platform: str) -> float:
        """Seconds to hash so many bytes, by a program made for ``platform``."""
        slower = 1.0 if is_native(platform, self.blueprint.arch) else _EMULATION
        return slower * size / self.cpu * self.noise()

    def writing(self, size: int) -> float:
        """Seconds to write so many bytes to the disk."""
        return size / self.blueprint.disk_speed * self.noise()

    def hex_id(self) -> str:
        """Make an ID as the Engine does."""
        return f"{self._rng.getrandbits(256):064x}"

    def add_builder(self, plan: BuilderPlan) -> SimulatedBuilder:
        """Run a builder in a container of its own."""
        builder = self._add(plan, plan.name)
        container = Container(self.hex_id(), builder)
        self.containers[container.id] = container
        return builder

    def remove_builder(self, name: str, *, keep_volume: bool = False) -> None:
        """Remove a builder's container, with its state volume unless that is kept."""
        builder = self.builders.pop(name)
        builder.crash()
        container = next(c for c in self.containers.values() if c.builder is builder)
        del self.containers[container.id]
        if keep_volume:
            self.orphans[container.name + STATE_SUFFIX] = builder.cache.size

    def add_image(self, labels: Mapping[str, str], layers: Iterable[Record]) -> None:
        """Make an image of what the embedded builder built."""
        image = Image(labels, tuple(layer for layer in layers if not layer.shared))
        self.builders[EMBEDDED.name].cache.share(image.layers, shared=True)
        self.images[f"sha256:{self.hex_id()}"] = image

    def remove_image(self, number: str) -> None:
        """Remove an image; its layers stay in the build cache."""
        image = self.images.pop(number)
        self.builders[EMBEDDED.name].cache.share(image.layers, shared=False)

    def crash(self) -> None:
        """Lose what runs, as when the power goes."""
        for builder in self.builders.values():
            builder.crash()

    def _add(self, plan: BuilderPlan, name: str) -> SimulatedBuilder:
        platform = f"linux/{self.blueprint.arch}"
        builder = SimulatedBuilder(plan, platform, self._rng, self.clock)
        self.builders[name] = builder
        builder.populate(_SHARED_WITH_IMAGES if name == EMBEDDED.name else 0.0)
        return builder
