"""What ``canary`` says: a table of timings, and below it what it has no room for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from exporter.canaries import (
    CanaryOutcome,
    CanaryRecord,
    MultiarchRecord,
    MultiarchRun,
    Step,
    StepTime,
)
from exporter.cli.terminal import Row, fitting, print_beside
from exporter.words import duration

_MIB = 1024**2
_NUMBERS = ("PULL", "CPU", "CPU/S", "DISK", "DISK/S", "EXPORT", "TOTAL")
# What goes first where the terminal is too narrow for all.
_LEAST_WANTED = ("EXPORT", "PULL", "BUILDER", "CPU", "DISK", "RUNS", "PLATFORM")
_STYLES = {CanaryOutcome.OK: "green", CanaryOutcome.SKIPPED: "yellow"}


def report(out: Console, records: Sequence[CanaryRecord]) -> None:
    """Print what the builds came to, in seconds and MiB a second."""
    if not records:
        return
    out.print(fitting(out, [_row(record) for record in records], _NUMBERS, _LEAST_WANTED, gap=1))
    for record in records:
        if record.detail is not None:
            name = f"{record.node}/{record.builder} {record.platform}  "
            print_beside(out, Text(name, _style(record.outcome)), record.detail)


def report_multiarch(out: Console, record: MultiarchRecord) -> None:
    """Print what the build over the whole farm came to."""
    said = f"{record.outcome} in {duration(record.duration)}"
    if record.pushed:
        said += f"; pushed for {', '.join(record.pushed)}"
    if record.first is not None:
        said += f"; built in {_run(record.first)}"
    if record.second is not None:
        where = " on other nodes" if record.across_nodes else ""
        said += (
            f"; again{where} in {_run(record.second)}, "
            f"{record.second.cached} of {record.second.steps} steps from the shared cache"
        )
    if record.detail is not None:
        said += f"; {record.detail}"
    print_beside(out, Text(f"multiarch {record.builder}  ", _style(record.outcome)), said)


def _run(run: MultiarchRun) -> str:
    places = ", ".join(f"{platform} on {node}" for platform, node in sorted(run.nodes.items()))
    return f"{duration(run.seconds)}" + (f" ({places})" if places else "")


def _row(record: CanaryRecord) -> Row:
    steps = record.steps
    # Nothing was built where there is nothing to show of it.
    built = record.outcome not in (CanaryOutcome.SKIPPED, CanaryOutcome.MISSING)
    return {
        "NODE": record.node,
        "BUILDER": record.builder,
        "PLATFORM": record.platform.removeprefix("linux/"),
        "RUNS": ("emulated" if record.emulated else "native") if built else "-",
        "PULL": _seconds(steps.get(Step.PULL)),
        "CPU": _seconds(steps.get(Step.CPU)),
        "CPU/S": _rate(steps.get(Step.CPU)),
        "DISK": _seconds(steps.get(Step.DISK)),
        "DISK/S": _rate(steps.get(Step.DISK)),
        "EXPORT": _seconds(steps.get(Step.EXPORT)),
        "RESULT": Text(record.outcome, _style(record.outcome)),
        "TOTAL": _short(record.duration) if built else "-",
    }


def _style(outcome: CanaryOutcome) -> str:
    return _STYLES.get(outcome, "red")


def _seconds(time: StepTime | None) -> str:
    return "-" if time is None or time.cached else _short(time.seconds)


def _short(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 10 else f"{seconds:.1f}"


def _rate(time: StepTime | None) -> str:
    """MiB a second, three digits or so."""
    if time is None or time.cached or time.throughput is None:
        return "-"
    rate = time.throughput / _MIB
    return f"{rate:.1f}M" if rate < 10 else f"{rate:.0f}M"
