"""The metrics of a node: names, kinds and what they mean. Names are a promise to users."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A metric's type in both exposition formats."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric. ``name`` is that of its samples, so a counter's ends with ``_total``."""

    name: str
    help: str
    kind: Kind = Kind.GAUGE


@dataclass(frozen=True, slots=True)
class Distribution:
    """The value of a histogram."""

    bounds: tuple[float, ...]
    """Upper bounds of the buckets; one more has none."""
    counts: tuple[int, ...]
    """How many fall into each bucket, not added up."""
    sum: float


NODE_UP = Family(
    "buildfarm_node_up", "Whether transport, engine and every selected builder answered."
)
LAYER_UP = Family("buildfarm_node_layer_up", "Whether this layer of the node answered.")
NODE_FAILURE = Family("buildfarm_node_failure", "1 while the node fails in this layer, and why.")
NODE_INFO = Family("buildfarm_node_info", "What the node is.")
CONNECTS = Family("buildfarm_node_connects_total", "Connections made to the node.", Kind.COUNTER)
ROUND_TRIP = Family(
    "buildfarm_node_round_trip_seconds", "Time from a ping to the node's answer, at the last look."
)
COLLECTOR_SUCCESS = Family(
    "buildfarm_collector_success", "Whether the last collection succeeded wholly."
)
COLLECTOR_DURATION = Family(
    "buildfarm_collector_duration_seconds", "How long the last collection took."
)
COLLECTOR_LAST_SUCCESS = Family(
    "buildfarm_collector_last_success_timestamp_seconds", "When a collection last succeeded wholly."
)
COLLECTOR_TIMEOUTS = Family(
    "buildfarm_collector_timeouts_total",
    "Collections that failed because no answer came in time.",
    Kind.COUNTER,
)
DISK_SIZE = Family(
    "buildfarm_disk_size_bytes", "Size of the filesystem that holds the builders' data."
)
DISK_AVAILABLE = Family(
    "buildfarm_disk_available_bytes", "Bytes of that filesystem free to unprivileged users."
)
DISK_INODES = Family("buildfarm_disk_inodes", "Inodes of that filesystem.")
DISK_INODES_FREE = Family("buildfarm_disk_inodes_free", "Free inodes of that filesystem.")
DISK_FULL = Family(
    "buildfarm_disk_full_timestamp_seconds",
    "When that filesystem will be full as it fills now; absent while it does not fill.",
)
BUILDER_INFO = Family("buildfarm_builder_info", "What the builder is.")
BUILDER_PLATFORM = Family("buildfarm_builder_platform", "A platform that the builder offers.")
PLATFORM_MISSING = Family(
    "buildfarm_platform_missing", "1 for an expected platform that the node does not run natively."
)
GC_KEEP = Family(
    "buildfarm_builder_gc_keep_bytes",
    "The largest cache size that BuildKit's own garbage collection allows.",
)
CACHE_SIZE = Family(
    "buildfarm_cache_size_bytes", "Size of the cache's records, shared ones included."
)
CACHE_RECORDS = Family("buildfarm_cache_records", "Records in the cache.")
CACHE_RECLAIMABLE = Family(
    "buildfarm_cache_reclaimable_bytes", "Size of the records that are not in use."
)
CACHE_IN_USE = Family("buildfarm_cache_in_use_bytes", "Size of the records in use.")
CACHE_SHARED = Family("buildfarm_cache_shared_bytes", "Size of the records shared with others.")
CACHE_IDLE = Family(
    "buildfarm_cache_idle_bytes", "Size of the records not used for longer than older_than."
)
ORPHANS = Family(
    "buildfarm_orphaned_state_volumes", "State volumes of buildx builders that no container uses."
)
ORPHANS_SIZE = Family("buildfarm_orphaned_state_volumes_bytes", "Bytes in those volumes.")
BUILDS_RUNNING = Family("buildfarm_builds_running", "Builds under way, without canaries.")
BUILDS = Family(
    "buildfarm_builds_total", "Builds that ended, however, without canaries.", Kind.COUNTER
)
BUILDS_FAILED = Family(
    "buildfarm_builds_failed_total", "Builds that failed or were cancelled.", Kind.COUNTER
)
BUILD_DURATION = Family(
    "buildfarm_build_duration_seconds", "How long builds took, however they ended.", Kind.HISTOGRAM
)
BUILD_STEPS = Family("buildfarm_build_steps_total", "Steps of builds that ended.", Kind.COUNTER)
BUILD_STEPS_CACHED = Family(
    "buildfarm_build_steps_cached_total", "Those of the steps that were cached.", Kind.COUNTER
)
CERTIFICATE_END = Family(
    "buildfarm_tls_certificate_not_after_timestamp_seconds", "When the certificate ends."
)

FAMILIES: tuple[Family, ...] = (
    NODE_UP,
    LAYER_UP,
    NODE_FAILURE,
    NODE_INFO,
    CONNECTS,
    ROUND_TRIP,
    COLLECTOR_SUCCESS,
    COLLECTOR_DURATION,
    COLLECTOR_LAST_SUCCESS,
    COLLECTOR_TIMEOUTS,
    DISK_SIZE,
    DISK_AVAILABLE,
    DISK_INODES,
    DISK_INODES_FREE,
    DISK_FULL,
    BUILDER_INFO,
    BUILDER_PLATFORM,
    PLATFORM_MISSING,
    GC_KEEP,
    CACHE_SIZE,
    CACHE_RECORDS,
    CACHE_RECLAIMABLE,
    CACHE_IN_USE,
    CACHE_SHARED,
    CACHE_IDLE,
    ORPHANS,
    ORPHANS_SIZE,
    BUILDS_RUNNING,
    BUILDS,
    BUILDS_FAILED,
    BUILD_DURATION,
    BUILD_STEPS,
    BUILD_STEPS_CACHED,
    CERTIFICATE_END,
)
