"""Plain frozen data that passes between the rooms.

Two groups: what is *configured* about a node (:class:`NodeSpec` and its parts) and what is
*known* of it (:class:`Snapshot` and its parts). Sizes are bytes, durations seconds, points in
time seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Generic, TypeVar

from exporter.builds import Builds
from exporter.errors import Layer, Reason
from exporter.forecast import Sample
from exporter.words import size

T = TypeVar("T")

# ----------------------------------------------------------------------------- configured


class Driver(StrEnum):
    """How a builder is run, in buildx's words."""

    DOCKER = "docker"
    CONTAINER = "docker-container"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class SshEndpoint:
    """A machine reached over SSH. ``None`` leaves the value to the user's SSH configuration."""

    host: str
    user: str | None = None
    port: int | None = None
    socket: str | None = None
    """The daemon's socket on that machine; ``None``: where the driver has it by default."""
    identity_files: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] | None = None
    config_files: tuple[Path, ...] | None = None
    """SSH client configuration files; ``None``: the user's ``~/.ssh/config`` where there is one."""
    passphrase: str | None = field(default=None, repr=False)
    connect_timeout: float = 10.0
    keepalive: float = 15.0

    @property
    def url(self) -> str:
        """The endpoint as it is written in a config file."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = f":{self.port}" if self.port else ""
        return f"ssh://{user}{host}{port}{self.socket or ''}"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of a TLS client. Without ``ca`` the system's authorities are trusted."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class TcpEndpoint:
    """A daemon on a TCP port. ``tls`` is ``None`` only where the user asked for plain TCP."""

    host: str
    port: int
    tls: TlsFiles | None
    connect_timeout: float = 10.0

    @property
    def url(self) -> str:
        """The endpoint as it is written in a config file."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixEndpoint:
    """A daemon's socket on this machine."""

    path: str
    connect_timeout: float = 10.0

    @property
    def url(self) -> str:
        """The endpoint as it is written in a config file."""
        return f"unix://{self.path}"


Endpoint = SshEndpoint | TcpEndpoint | UnixEndpoint


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """How often each collector looks, and how long one look may take, in seconds."""

    reachability: float = 15.0
    disk: float = 30.0
    cache: float = 120.0
    workers: float = 600.0
    orphans: float = 3600.0
    builds: bool = True
    timeout: float = 10.0


@dataclass(frozen=True, slots=True)
class DiskSettings:
    """Where to learn of a node's disk. Both ``None``: by the node's own means."""

    path: str | None = None
    """Directory whose filesystem counts; ``None``: Docker's root as the Engine reports it."""
    node_exporter: str | None = None
    """URL of a node_exporter's metrics page."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A number of bytes, or a share (0 to 1) of a filesystem: exactly one of the two is set."""

    bytes: int | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        if (self.bytes is None) == (self.share is None):
            raise ValueError("a threshold is either bytes or a share")

    def of(self, total: int) -> int:
        """The threshold in bytes, on a filesystem of ``total`` bytes."""
        return self.bytes if self.bytes is not None else round(total * (self.share or 0.0))

    def __str__(self) -> str:
        """The threshold as people read it: ``15 %``, ``20.0 GiB``."""
        return size(self.bytes) if self.bytes is not None else f"{(self.share or 0.0) * 100:g} %"


@dataclass(frozen=True, slots=True)
class PruneTriggers:
    """What makes a prune due. Any one is enough; ``None`` never does."""

    cache_above: Threshold | None = None
    disk_free_below: Threshold | None = None
    inodes_free_below: float | None = None
    """A share, 0 to 1."""
    full_within: float | None = None
    """Seconds until the disk is full, as it fills now."""


@dataclass(frozen=True, slots=True)
class PruneCritical:
    """What makes a prune due without waiting for builds to end."""

    disk_free_below: Threshold | None = None
    inodes_free_below: float | None = None
    """A share, 0 to 1."""

    def passed(self, disk: Disk) -> bool:
        """Tell whether it is so on this disk."""
        free, inodes = self.disk_free_below, self.inodes_free_below
        if free is not None and disk.available < free.of(disk.size):
            return True
        return inodes is not None and disk.inodes_free < inodes * disk.inodes


@dataclass(frozen=True, slots=True)
class PruneSettings:
    """When and how far a node's caches are pruned."""

    keep_storage: Threshold
    """Never nothing: the configuration refuses that."""
    when: PruneTriggers
    critical: PruneCritical = PruneCritical()
    wait_for_idle: float = 600.0
    cooldown: float = 1800.0
    all: bool = False
    """Also internal and frontend records."""
    filters: tuple[str, ...] = ()
    """BuildKit's filters."""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class CanarySettings:
    """When a node's builders are timed by canary builds, and by what work."""

    schedule: str | None = None
    """As in crontab(5). Exactly one of this and ``every`` is set."""
    every: float | None = 6 * 3600.0
    base_image: str = "docker.io/library/busybox:stable"
    cpu: int = 256 * 1024**2
    """Bytes to hash."""
    disk: int = 256 * 1024**2
    """Bytes to write."""
    timeout: float = 300.0
    skip_while_building: bool = True


@dataclass(frozen=True, slots=True)
class MultiarchSettings:
    """The canary build over the whole farm, by ``docker buildx``."""

    builder: str
    """The buildx builder."""
    push: str
    """The image reference to push to."""
    cache: str | None
    """The image reference of the shared cache; ``None``: there is none."""
    schedule: str | None
    """As in crontab(5). Exactly one of this and ``every`` is set."""
    every: float | None
    base_image: str
    timeout: float


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """All that the configuration says about one node."""

    name: str
    endpoint: Endpoint
    remote: bool = False
    """True: a bare buildkitd answers at the endpoint, no Docker Engine."""
    platforms: tuple[str, ...] = ()
    """Platforms that the node is expected to build natively; empty: no expectation."""
    builders: tuple[str, ...] | None = None
    """Names of the selected builders; ``None``: container builders where there are any."""
    disk: DiskSettings = DiskSettings()
    collect: CollectSettings = CollectSettings()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Added to this node's alerts: the farm's, and over them the node's own."""
    prune: PruneSettings | None = None
    """``None``: never pruned."""
    orphans_remove_after: float | None = None
    """Seconds after which an orphaned state volume is removed; ``None``: never."""
    canary: CanarySettings | None = None
    """``None``: no canary builds."""

    @property
    def transport(self) -> str:
        """The value of the label ``transport``: ssh, tls, tcp or unix."""
        match self.endpoint:
            case SshEndpoint():
                return "ssh"
            case TcpEndpoint(tls=tls):
                return "tcp" if tls is None else "tls"
            case UnixEndpoint():
                return "unix"


@dataclass(frozen=True, slots=True)
class BuildxNode:
    """A node of a buildx builder: one BuildKit, and where it is."""

    name: str
    """Of the BuildKit: its container is called after it."""
    endpoint: str
    """A URL, or the name of a Docker context."""
    platforms: tuple[str, ...] = ()
    """Those that were claimed for it when it was made, not those that it offers."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Of the driver."""
    flags: tuple[str, ...] = ()
    """buildkitd's."""
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """What buildkitd is configured by, as it lies in its container's /etc/buildkit."""
    spec: NodeSpec | None = None
    """The node that the endpoint leads to; ``None``: none that this exporter could reach."""


@dataclass(frozen=True, slots=True)
class BuildxBuilder:
    """A builder in the buildx store: what users build with."""

    name: str
    driver: str
    nodes: tuple[BuildxNode, ...]


# ---------------------------------------------------------------------------------- known


@dataclass(frozen=True, slots=True)
class Learned(Generic[T]):
    """A value and when it was learned (seconds since the epoch)."""

    value: T
    at: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a look failed: the layer that did not answer, and a sentence for people."""

    layer: Layer
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Reachability:
    """What answered at the last look. A layer that the node does not have is absent."""

    layers: Mapping[Layer, bool]
    failure: Failure | None
    round_trip: float | None
    """Seconds from request to answer of the Engine's ping, or of BuildKit's where no Engine is."""

    @property
    def up(self) -> bool:
        """Whether every layer answered."""
        return self.failure is None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """From the Engine's ``GET /info`` and ``GET /version``."""

    version: str
    api_version: str
    os: str
    arch: str
    """In Go's words (amd64, arm64), not the kernel's."""
    root: str
    """``DockerRootDir``: where images, volumes and so BuildKit's state are."""


@dataclass(frozen=True, slots=True)
class Builder:
    """One BuildKit on a node."""

    name: str
    driver: Driver
    selected: bool = True
    container: str | None = None
    """ID of the container it runs in (docker-container only)."""
    running: bool = True


@dataclass(frozen=True, slots=True)
class BuilderPlatform:
    """A platform that a builder offers."""

    platform: str
    emulated: bool


@dataclass(frozen=True, slots=True)
class Worker:
    """What a builder says of itself (``ListWorkers``, ``Info``)."""

    builder: Builder
    version: str
    platforms: tuple[BuilderPlatform, ...]
    gc_keep: int | None
    """The largest cap that BuildKit's own garbage collection enforces, in bytes."""


@dataclass(frozen=True, slots=True)
class Workers:
    """All builders of a node, and the Engine they belong to (``None`` for a bare buildkitd)."""

    engine: EngineInfo | None
    workers: tuple[Worker, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """A filesystem, as ``statvfs`` on the node sees it."""

    path: str
    size: int
    available: int
    """Bytes that an unprivileged user may still write (``f_bavail``)."""
    inodes: int
    inodes_free: int
    samples: tuple[Sample, ...] = ()
    """How much was available before, oldest first: what a forecast is made from."""
    full_at: float | None = None
    """When it will be full as it fills now; ``None``: it does not fill, or too little is known."""


@dataclass(frozen=True, slots=True)
class CacheType:
    """Records of one type."""

    size: int
    records: int


@dataclass(frozen=True, slots=True)
class Cache:
    """A builder's cache, summed over the records of ``DiskUsage``."""

    builder: str
    at: float
    """When the builder told: another builder's failure leaves this one's last value."""
    types: Mapping[str, CacheType]
    reclaimable: int
    in_use: int
    shared: int
    idle: Mapping[str, int]
    """Bytes not in use and not used for longer than the key says (1d, 7d, 30d)."""

    @property
    def size(self) -> int:
        """Bytes of all records, as the total of ``docker buildx du``."""
        return sum(kind.size for kind in self.types.values())


@dataclass(frozen=True, slots=True)
class Orphans:
    """buildx state volumes that no container uses."""

    volumes: tuple[str, ...]
    size: int | None
    """Bytes in them; ``None`` where the Engine did not say in time."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """When the certificates of a TLS connection end. ``None``: there is none."""

    server: float | None
    client: float | None


@dataclass(frozen=True, slots=True)
class CollectorState:
    """How the collections of one subject went."""

    success: bool
    duration: float
    last_success: float | None
    timeouts: int
    """Collections that failed because no answer came in time, since the start."""
    error: Failure | None = None
    """Why the last collection was not, or not wholly, a success."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that is known of a node, each part with when it was learned.

    A part that was never learned is ``None``. A part that can't be refreshed keeps its last value.
    Each part has the name of the collector that learns it.
    """

    node: NodeSpec
    connects: int = 0
    """Transport connections made so far."""
    reachability: Learned[Reachability] | None = None
    workers: Learned[Workers] | None = None
    disk: Learned[Disk] | None = None
    cache: Learned[tuple[Cache, ...]] | None = None
    orphans: Learned[Orphans] | None = None
    builds: Learned[tuple[Builds, ...]] | None = None
    certificates: Learned[Certificates] | None = None
    collectors: Mapping[str, CollectorState] = field(default_factory=dict)
