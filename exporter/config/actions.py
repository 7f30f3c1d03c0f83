"""The configuration file: what is done to nodes (prune, orphans, canary)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationInfo, field_validator

from exporter.config.fields import (
    BuilderName,
    Bytes,
    Cron,
    Duration,
    GraceTime,
    Image,
    Interval,
    Keep,
    Limit,
    Section,
    ShareOf,
    Text,
    Timeout,
    tell,
)
from exporter.config.images import image_in_full
from exporter.config.units import Size

_MEBIBYTE = 1024**2
NO_TRIGGER = "names no trigger: it would never prune; write, for example, {cache_above: 60GB}"


def _above(upper: Any, lower: Any) -> bool:
    """Whether both are sizes of one kind, and the first is the larger one."""
    return (
        isinstance(upper, Size)
        and isinstance(lower, Size)
        and upper.is_share == lower.is_share
        and upper.number > lower.number
    )


class PruneTriggers(Section):
    """What makes a prune due. Any one is enough."""

    cache_above: Limit | None = Field(
        default=None, description="Prune when a builder's cache is larger than this."
    )
    disk_free_below: Limit | None = Field(
        default=None, description="Prune when the node's filesystem has less free than this."
    )
    inodes_free_below: ShareOf | None = Field(
        default=None, description="Prune when less than this share of the inodes is free."
    )
    full_within: Duration | None = Field(
        default=None, description="Prune when the disk will be full within this time, as it fills."
    )


class PruneCritical(Section):
    """What makes a prune due at once, builds running or not."""

    disk_free_below: Limit | None = Field(
        default=None, description="Do not wait when less of the filesystem is free than this."
    )
    inodes_free_below: ShareOf | None = Field(
        default=None, description="Do not wait when less of the inodes is free than this."
    )


class PruneOverride(Section):
    """What a node changes of the top-level ``prune``."""

    keep_storage: Keep | None = Field(
        default=None,
        description="The cache is shrunk to this, least recently used records first.",
    )
    when: PruneTriggers = Field(
        default=PruneTriggers(), description="What makes a prune due. Any one is enough."
    )
    critical: PruneCritical = Field(
        default=PruneCritical(), description="What makes a prune due without waiting for builds."
    )
    wait_for_idle: Duration = Field(
        default=600.0, description="How long to wait for running builds to end."
    )
    cooldown: Duration = Field(
        default=1800.0, description="The least time between two prunes of one builder."
    )
    all: bool = Field(
        default=False,
        description="Also internal and frontend records, as `docker builder prune --all`.",
    )
    filters: tuple[Text, ...] = Field(
        default=(), description="BuildKit filters, for example type!=exec.cachemount."
    )
    dry_run: bool = Field(default=False, description="Decide and report, but prune nothing.")

    @field_validator("when")
    @classmethod
    def _keep_fits(cls, when: PruneTriggers, info: ValidationInfo) -> PruneTriggers:
        keep, free = info.data.get("keep_storage"), when.disk_free_below
        wrong = []
        if _above(keep, when.cache_above):
            message = f"is less than keep_storage ({keep}): a prune would free nothing"
            wrong.append((("cache_above",), message))
        if keep and free and keep.is_share and free.is_share and keep.number + free.number > 100:
            message = f"can't be reached while keep_storage is {keep}: together more than the disk"
            wrong.append((("disk_free_below",), message))
        tell(wrong)
        return when

    @field_validator("critical")
    @classmethod
    def _later_than_when(cls, critical: PruneCritical, info: ValidationInfo) -> PruneCritical:
        when = info.data.get("when")
        tell(
            [
                ((key,), f"is more than in 'when' ({usual}); what is critical comes later")
                for key in ("disk_free_below", "inodes_free_below")
                if _above(getattr(critical, key), usual := getattr(when, key, None))
            ]
        )
        return critical


class PruneSettings(PruneOverride):
    """When and how far builders' caches are pruned. Without this section: never."""

    keep_storage: Keep = Field(
        description="The cache is shrunk to this, least recently used records first."
    )
    when: PruneTriggers = Field(
        description="What makes a prune due. Any one is enough, and at least one is needed.",
        json_schema_extra={"minProperties": 1},
    )
    max_parallel_per_platform: Annotated[int, Field(ge=1)] = Field(
        default=1,
        description="How many nodes of one platform may be pruned at a time, so that never all "
        "of them are cold at once.",
    )

    @field_validator("when")
    @classmethod
    def _some_trigger(cls, when: PruneTriggers) -> PruneTriggers:
        if not when.model_fields_set:
            raise ValueError(NO_TRIGGER)
        return when


class OrphanSettings(Section):
    """What becomes of buildx state volumes that no container uses."""

    remove_after: GraceTime | None = Field(
        default=None,
        description="Remove such a volume when it has been seen unused for this long. "
        "Absent: never.",
    )


class Workload(Section):
    """How much a canary build does, apart from starting."""

    cpu: Bytes = Field(
        default=Size(bytes=256 * _MEBIBYTE), description="Bytes to hash: keeps the CPU busy."
    )
    disk: Bytes = Field(
        default=Size(bytes=256 * _MEBIBYTE), description="Bytes to write: keeps the disk busy."
    )


class Multiarch(Section):
    """One real ``docker buildx build`` over all nodes of a builder."""

    builder: BuilderName = Field(description="The buildx builder, as in `docker buildx ls`.")
    push: Image = Field(
        description="The image reference to push to.",
        examples=["registry.example.com/canary:latest"],
    )
    cache: Image | None = Field(
        default=None,
        description="The image reference that the registry cache is kept at.",
        examples=["registry.example.com/canary:buildcache"],
    )

    @field_validator("cache")
    @classmethod
    def _beside_the_image(cls, cache: str | None, info: ValidationInfo) -> str | None:
        push = info.data.get("push")
        if cache and push and image_in_full(cache) == image_in_full(push):
            raise ValueError("is the same as push: it would overwrite the image; give another tag")
        return cache


class CanaryOverride(Section):
    """What a node changes of the top-level ``canary``."""

    schedule: Cron | None = Field(
        default=None, description="When to build, as in crontab(5). Either this or `every`."
    )
    every: Interval | None = Field(
        default=None,
        validate_default=True,
        description="How often to build. Default, without a schedule either: 6h.",
    )
    base_image: Image = Field(
        default="docker.io/library/busybox:stable",
        description="The image that canary builds start from; pulled anonymously.",
    )
    workload: Workload = Field(default=Workload(), description="How much a canary build does.")
    timeout: Timeout = Field(default=300.0, description="Hard limit of one canary build.")
    skip_while_building: bool = Field(
        default=True, description="Leave out a node that is busy with a build."
    )

    @field_validator("every")
    @classmethod
    def _one_calendar(cls, every: float | None, info: ValidationInfo) -> float | None:
        if every is not None and info.data.get("schedule") is not None:
            raise ValueError("give either 'schedule' or 'every'")
        return every


class CanarySettings(CanaryOverride):
    """Small builds that show whether, and how fast, a node builds. Without this section: none."""

    max_parallel: Annotated[int, Field(ge=1)] = Field(
        default=2, description="How many canary builds may run at a time, over the whole farm."
    )
    multiarch: Multiarch | None = Field(
        default=None, description="One real `docker buildx build` over the whole farm."
    )

    @property
    def interval(self) -> float | None:
        """Seconds between two builds; ``None`` where ``schedule`` says when."""
        return self.every or (None if self.schedule else 6 * 3600.0)
