"""The JSON Schema of the configuration file, for editors."""

from __future__ import annotations

from typing import Any

from exporter.config.schema import ConfigFile
from exporter.config.units import format_duration

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema (draft 2020-12). Every key has a description."""
    generated = ConfigFile.model_json_schema(by_alias=True, mode="validation")
    _tidy(generated)
    return {"$schema": DIALECT, **generated}


def _tidy(part: Any) -> None:
    """Take out what only Python needs: titles of keys, and ``null``s, which nobody writes."""
    if isinstance(part, list):
        for item in part:
            _tidy(item)
        return
    if not isinstance(part, dict):
        return
    for item in part.values():
        _tidy(item)
    # A property may be called `title`; a title is text.
    if isinstance(part.get("title"), str):
        del part["title"]
    default = part.get("default", ...)
    if default is None or isinstance(default, dict):
        del part["default"]
    elif part.get("type") == "string" and isinstance(default, float):
        part["default"] = format_duration(default)
    if "null" in [option.get("type") for option in part.get("anyOf", ()) if len(option) == 1]:
        options = [option for option in part["anyOf"] if option != {"type": "null"}]
        if len(options) == 1:
            del part["anyOf"]
            part.update({**options[0], **part})
        else:
            part["anyOf"] = options
