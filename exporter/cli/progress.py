"""A prune's progress on a terminal: a bar of bytes. Elsewhere nothing is drawn."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from exporter.actions.prune import Progress as HowFar


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
