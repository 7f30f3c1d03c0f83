"""Reads a configuration file, and tells everything that is wrong with it at once."""

from __future__ import annotations

import glob
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.config import discover, yamltree
from exporter.config.buildx import Store, StoreError
from exporter.config.config import Config
from exporter.config.files import Places, others_can_read, read_text
from exporter.config.merge import without_nulls
from exporter.config.nodes import Farm
from exporter.config.problems import Loc, Notebook, Page, Quote, Unset
from exporter.config.schema import ConfigFile
from exporter.config.storage import StorageSettings, storage_url
from exporter.config.substitute import environment, secret_files
from exporter.config.validate import validate

# Absent and empty are not the same here: absent means that nothing is done.
_NOT_EMPTY = ("prune", "canary", "alerting")
_SOURCES = ("nodes", "node_files", "buildx")


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    hostname: str | None = None,
    home: Path | None = None,
) -> Config:
    """Read the configuration file at ``path``.

    Args:
        path: the file; relative paths in it start at its directory.
        environ: where ``${NAME}``, and the places of the buildx and Docker stores, come from.
        hostname: this machine's name, the default name of a node on a unix socket.
        home: what ``~`` stands for; by default ``$HOME``.

    Raises:
        ConfigError: with every problem, in the order of the lines.
    """
    home = home or discover.home_directory(environ)
    loader = _Loader(path, environ, hostname or socket.gethostname(), home)
    return loader.load()


def defaults(
    *, environ: Mapping[str, str], hostname: str | None = None, home: Path | None = None
) -> Config:
    """What is watched without any configuration file, read-only. Never raises: see ``warnings``."""
    home = home or discover.home_directory(environ)
    found = discover.default_nodes(environ, hostname or socket.gethostname(), home)
    url = storage_url(StorageSettings(), environ, home)
    return Config(nodes=found.nodes, storage_url=url, warnings=found.notes)


@dataclass(slots=True)
class _Loader:
    path: Path
    environ: Mapping[str, str]
    hostname: str
    home: Path
    notebook: Notebook = field(default_factory=Notebook)

    def load(self) -> Config:
        places = Places(self.path.absolute().parent, self.home)
        raw, page = self._read(self.path)
        if not isinstance(raw, dict):
            if not self.notebook.problems:
                page.problem((), _wrong_top_level(raw))
            self.notebook.raise_problems()
            raise AssertionError("unreachable: there is a problem")
        secret_files(raw, places, page)
        for key in _NOT_EMPTY:
            if key in raw and raw[key] is None:
                page.problem((key,), "is empty; say what to do, or leave the key out")
        if not any(raw.get(key) is not None for key in _SOURCES):
            page.problem((), "nothing to watch; give 'nodes', 'node_files' or 'buildx'")

        file, top_problems = self._top_level(raw, places, page)
        labels = file.alerting.labels if file and file.alerting else {}
        farm = Farm(raw, places, self.hostname, top_problems, labels)
        self._entries(raw.get("nodes"), farm, page)
        matched, globs = self._node_files(raw.get("node_files"), places, farm, page)
        self._buildx(raw.get("buildx"), farm, page)
        self.notebook.raise_problems()
        assert file is not None
        self._warnings(file, farm, page)
        return Config(
            nodes=tuple(farm.nodes),
            storage_url=storage_url(file.storage, self.environ, self.home),
            file=file,
            warnings=self.notebook.told_warnings(),
            path=self.path,
            node_files=matched,
            node_globs=globs,
        )

    def _read(self, path: Path) -> tuple[Any, Page]:
        """A file's data with the environment filled in, and the page for what is found in it."""
        try:
            text = read_text(path)
        except ValueError as error:
            page = self.notebook.page(str(path), {}, {})
            page.problem((), str(error))
            return None, page
        tree = yamltree.parse(text)
        tree.lines.setdefault((), 1)
        quoted: dict[Loc, list[Quote]] = {}
        page = self.notebook.page(str(path), tree.lines, quoted)
        for line, loc, message in tree.problems:
            page.problem_at(line, loc, message)
        return environment(tree.data, self.environ, page, quoted), page

    def _top_level(
        self, raw: dict[str, Any], places: Places, page: Page
    ) -> tuple[ConfigFile | None, frozenset[tuple[Loc, str]]]:
        """Check all but the nodes: those are checked one by one, with what they override."""
        file, problems = validate(ConfigFile, without_nulls(raw), places)
        mine = [(loc, message) for loc, message in problems if loc[:1] != ("nodes",)]
        for loc, message in mine:
            page.problem(loc, message)
        return file, frozenset(mine)

    def _entries(self, entries: Any, farm: Farm, page: Page, loc: Loc = ("nodes",)) -> None:
        if entries is None or isinstance(entries, Unset):
            return
        if not isinstance(entries, list):
            page.problem(loc, "must be a list of nodes (- endpoint: …)")
            return
        for i, entry in enumerate(entries):
            farm.add_entry(entry, (*loc, i), page)

    def _node_files(
        self, patterns: Any, places: Places, farm: Farm, page: Page
    ) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        matched: dict[Path, None] = {}
        globs = []
        for i, pattern in enumerate(patterns if isinstance(patterns, list) else ()):
            if not isinstance(pattern, str) or isinstance(pattern, Unset) or not pattern.strip():
                continue
            absolute = places.path(pattern)
            globs.append(str(absolute))
            # As the user wrote it: that is how messages name the file.
            shown = self.home / pattern[2:] if pattern[:2] == "~/" else self.path.parent / pattern
            # Path.glob takes no absolute pattern.
            found = sorted(glob.glob(str(shown), recursive=True))  # noqa: PTH207
            if not found:
                page.warn(("node_files", i), "no file matches this pattern (yet)")
            for name in found:
                if Path(name).absolute() not in matched:
                    matched[Path(name).absolute()] = None
                    self._node_file(Path(name), places, farm)
        return tuple(matched), tuple(globs)

    def _node_file(self, path: Path, places: Places, farm: Farm) -> None:
        raw, page = self._read(path)
        secret_files(raw, places, page, of_nodes=True)
        if raw is not None and not isinstance(raw, list):
            page.problem((), "must be a list of nodes (- endpoint: …)")
            return
        self._entries(raw, farm, page, ())

    def _buildx(self, section: Any, farm: Farm, page: Page) -> None:
        names = section.get("builders") if isinstance(section, dict) else None
        if not isinstance(names, list) or not names:
            return
        store = Store(self.environ, self.hostname, self.home)
        for i, name in enumerate(names):
            if not isinstance(name, str) or isinstance(name, Unset) or not name.strip():
                continue
            loc: Loc = ("buildx", "builders", i)
            try:
                found = store.builder(name)
            except StoreError as error:
                page.problem(loc, str(error))
                continue
            for note in found.notes:
                page.warn(loc, note)
            for problem in found.problems:
                page.problem(loc, problem)
            for spec in found.nodes:
                farm.add_found(spec, loc, page)

    def _warnings(self, file: ConfigFile, farm: Farm, page: Page) -> None:
        if not farm.nodes:
            page.warn(("nodes",), "no node is configured; there is nothing to watch")
        for i, path in enumerate(file.ssh.identity_files):
            if others_can_read(path):
                message = "every user of this machine can read this private key; chmod 600"
                page.warn(("ssh", "identity_files", i), message)


def _wrong_top_level(raw: Any) -> str:
    if raw is None:
        return "the file is empty; it needs at least 'nodes'"
    kind = "a list" if isinstance(raw, list) else "a single value"
    return f"must be a mapping (nodes: …), not {kind}"
