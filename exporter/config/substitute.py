"""Values that are not in the file itself: ``${ENV}`` and ``*_file`` keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from exporter.config.files import Places, read_secret
from exporter.config.problems import Loc, Page, Quote, Unset

_REFERENCE = re.compile(r"\$(?:(\$)|\{([^}]*)(\})?)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

# Where a secret may stand in a file of its own; None stands for any index of a list.
_SECRETS: tuple[tuple[tuple[str | None, ...], str], ...] = (
    (("ssh",), "passphrase"),
    (("nodes", None, "ssh"), "passphrase"),
    (("storage",), "url"),
    (("alerting", "alertmanagers", None), "bearer_token"),
    (("alerting", "alertmanagers", None, "basic_auth"), "password"),
)
_SECRETS_OF_NODE: tuple[tuple[tuple[str | None, ...], str], ...] = (((None, "ssh"), "passphrase"),)


def environment(
    data: Any, environ: Mapping[str, str], page: Page, quoted: dict[Loc, list[Quote]]
) -> Any:
    """The same data with ``${NAME}`` replaced in all text values, and ``$$`` by ``$``.

    ``quoted`` is filled with what was replaced, so that messages can show the reference instead.
    """

    def walk(value: Any, loc: Loc) -> Any:
        if isinstance(value, dict):
            return {key: walk(item, (*loc, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item, (*loc, i)) for i, item in enumerate(value)]
        if isinstance(value, str) and "$" in value and not isinstance(value, Unset):
            return text(value, loc)
        return value

    def text(value: str, loc: Loc) -> str:
        def replace(match: re.Match[str]) -> str:
            dollar, name, closed = match.groups()
            if dollar:
                return "$"
            if not closed or not _NAME.fullmatch(name):
                page.problem(loc, f"'{match[0]}' is no reference; write ${{NAME}}, or $$ for a $")
                missing.append(name)
                return ""
            if name not in environ:
                page.problem(loc, f"the environment variable {name} is not set")
                missing.append(name)
                return ""
            quoted.setdefault(loc, []).append(Quote(environ[name], match[0]))
            return environ[name]

        missing: list[str] = []
        result = _REFERENCE.sub(replace, value)
        # Further complaints about a value that is not there would only repeat the first one.
        return Unset(value) if missing else result

    return walk(data, ())


def secret_files(data: Any, places: Places, page: Page, *, of_nodes: bool = False) -> None:
    """Put the content of ``passphrase_file`` and its like into ``passphrase``, in place."""
    for pattern, key in _SECRETS_OF_NODE if of_nodes else _SECRETS:
        for mapping, loc in _matching(data, pattern, ()):
            name = mapping.get(f"{key}_file")
            at = (*loc, f"{key}_file")
            if not isinstance(name, str) or isinstance(name, Unset):
                continue  # absent, or a mistake that validation will tell of
            if mapping.get(key) is not None:
                page.problem(at, f"give either '{key}' or '{key}_file'")
                continue
            try:
                mapping[key] = read_secret(places.path(name))
            except ValueError as error:
                page.problem(at, str(error))


def _matching(
    data: Any, pattern: tuple[str | None, ...], loc: Loc
) -> Iterator[tuple[dict[str, Any], Loc]]:
    if not pattern:
        if isinstance(data, dict):
            yield data, loc
    elif pattern[0] is None:
        if isinstance(data, list):
            for i, item in enumerate(data):
                yield from _matching(item, pattern[1:], (*loc, i))
    elif isinstance(data, dict) and pattern[0] in data:
        yield from _matching(data[pattern[0]], pattern[1:], (*loc, pattern[0]))
