"""A node as the collectors see it: its transport, its Engine, its builders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from exporter.buildkit.builders import BARE, find_builders
from exporter.buildkit.control import Control
from exporter.docker.engine import Engine
from exporter.docker.rawstream import RawStream
from exporter.errors import Layer, NodeError, Reason
from exporter.model import Builder, Driver, EngineInfo, NodeSpec
from exporter.transports import Transport
from exporter.transports.duplex import Duplex


class NodeClient:
    """All that can be asked of one node, over its one transport.

    What was learned on the way (the Engine's data, the list of builders) is kept until it is
    refreshed. No method has a deadline: the caller sets one.
    """

    def __init__(self, spec: NodeSpec, transport: Transport) -> None:
        self.spec = spec
        self.transport = transport
        self.engine: Engine | None = None if spec.remote else Engine(transport.dial)
        self._builders: tuple[Builder, ...] | None = (BARE,) if spec.remote else None
        self._info: EngineInfo | None = None
        self._controls: dict[Builder, Control] = {}
        self._holders = 0

    async def engine_info(self, *, fresh: bool = False) -> EngineInfo | None:
        """Return what the Engine says of itself; ``None`` where there is none."""
        if self.engine is not None and (fresh or self._info is None):
            self._info = await self.engine.info()
        return self._info

    async def builders(self, *, fresh: bool = False) -> tuple[Builder, ...]:
        """Return the node's builders, the selected ones marked."""
        if self._builders is not None and (not fresh or self.engine is None):
            return self._builders
        assert self.engine is not None
        found = await find_builders(self.engine, self.spec.builders, self._builders or ())
        for builder in self._controls.keys() - set(found):
            self._controls.pop(builder).close()
        self._builders = found
        return found

    def control(self, builder: Builder) -> Control:
        """Return the client of a builder, kept from call to call.

        :raises NodeError: when the builder does not run.
        """
        # By all that is known of it: who still has an older list asks for the container of before.
        if builder not in self._controls or not builder.running:
            self._controls[builder] = self.new_control(builder)
        return self._controls[builder]

    def new_control(self, builder: Builder) -> Control:
        """Return another client of a builder, with a connection of its own; the caller closes it.

        :raises NodeError: when the builder does not run.
        """
        if not builder.running:
            what = "does not run" if builder.container else "is gone"
            raise NodeError(
                Layer.BUILDKIT, Reason.BUILDKIT, f"the container of builder {builder.name} {what}"
            )

        async def dial() -> Duplex:
            return await self._dial(builder)

        return Control(dial, f"{self.spec.name}/{builder.name}")

    async def _dial(self, builder: Builder) -> Duplex:
        if self.engine is None:
            return await self.transport.dial()
        if builder.driver is Driver.DOCKER:
            return await self.engine.open_grpc()
        return await self.execute(builder, ["buildctl", "dial-stdio"])

    async def execute(self, builder: Builder, command: list[str]) -> RawStream:
        """Run a command in a container builder's container."""
        assert self.engine is not None
        assert builder.container is not None
        return await self.engine.execute(builder.container, command)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the transport inside, even when a look finds the node silent.

        What must not be cut short (a prune) goes on over it; keepalives tell whether it is dead.
        """
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1

    def reset(self) -> None:
        """Give up every connection; the next request makes new ones. The builders stay known."""
        self._disconnect()
        if not self._holders:
            self.transport.reset()

    async def close(self) -> None:
        """End in order."""
        self._disconnect()
        await self.transport.close()

    def _disconnect(self) -> None:
        while self._controls:
            self._controls.popitem()[1].close()
        if self.engine is not None:
            self.engine.close()
