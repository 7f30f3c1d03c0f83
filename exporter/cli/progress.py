"""Progress on a terminal: a bar for a prune, a line for each canary. Elsewhere nothing is drawn."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from exporter.actions.prune import Progress as HowFar
from exporter.canaries import CanaryKey, Step


class PruneProgress:
    """A bar that fills as BuildKit removes records. ``expected``: bytes that should go."""

    def __init__(self, console: Console, name: str, expected: int) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TextColumn("{task.fields[records]} records{task.fields[remark]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(name, total=max(expected, 1), records=0, remark="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, progress: HowFar) -> None:
        """Show how far the prune is."""
        remark = ", BuildKit is silent" if progress.stalled else ""
        self._bar.update(
            self._task, completed=progress.reclaimed, records=progress.records, remark=remark
        )


class CanaryView:
    """A line for each canary that is being built, with the step it is at."""

    def __init__(self, console: Console) -> None:
        self._lines = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[step]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[CanaryKey, TaskID] = {}

    def __enter__(self) -> Self:
        self._lines.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.stop()

    def update(self, key: CanaryKey, step: Step | None) -> None:
        """Show at which step a canary is; ``None``: between two, or before the first."""
        if key not in self._tasks:
            node, builder, platform = key
            self._tasks[key] = self._lines.add_task(f"{node}/{builder} {platform}", step="")
        self._lines.update(self._tasks[key], step=step or "")

    def ended(self, key: CanaryKey) -> None:
        """Take a canary's line away."""
        if key in self._tasks:
            self._lines.remove_task(self._tasks.pop(key))
