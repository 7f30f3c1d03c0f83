"""Pydantic's findings in the words of a person who wrote YAML."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from exporter.config.actions import NO_TRIGGER
from exporter.config.fields import Section
from exporter.config.files import Places
from exporter.config.problems import Loc, Unset

S = TypeVar("S", bound=Section)

# Keys that people know from elsewhere, and that difflib would not find.
_HINTS = {
    "host": "did you mean 'endpoint'?",
    "address": "did you mean 'endpoint'?",
    "url": "did you mean 'endpoint'?",
    "target": "did you mean 'endpoint'?",
    "user": "the user is part of the endpoint: ssh://user@host",
    "port": "the port is part of the endpoint: ssh://host:port",
    "password": "put keys, not passwords, into the configuration",
    "strict_host_key_checking": "unknown hosts are always refused; add their keys to known_hosts",
    "insecure_skip_verify": "certificates are always checked; give the authority's in 'ca'",
    "multiarch": "it is about the whole farm; give it in the top-level 'canary'",
    "max_parallel": "it is about the whole farm; give it in the top-level 'canary'",
    "max_parallel_per_platform": "it is about the whole farm; give it in the top-level 'prune'",
}
_REQUIRED = {
    "endpoint": "is missing: where the node is, for example ssh://builder@node1.example.com",
    "keep_storage": "is missing: how much of the cache to keep, for example 20GB",
    "when": NO_TRIGGER,
}
_MAPPINGS = {"model_type", "model_attributes_type", "dict_type", "dataclass_type"}
_LISTS = {"list_type", "tuple_type", "iterable_type"}
_WRONG = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "path_type": "must be a file's path",
}


def validate(
    model: type[S], raw: Any, places: Places, loc: Loc = ()
) -> tuple[S | None, list[tuple[Loc, str]]]:
    """Check a section. Returns it, or ``None`` and every problem with its place below ``loc``."""
    try:
        return model.model_validate(raw, context=places), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=True)
    problems = []
    for finding in found:
        at = tuple(step for step in finding["loc"] if not str(step).startswith(("~", "[key]")))
        value = _value(raw, at)
        if not isinstance(value, Unset):
            problems.append(((*loc, *at), _message(model, at, value, finding)))
    return None, problems


def _message(model: type[Section], at: Loc, value: Any, finding: Mapping[str, Any]) -> str:
    kind: str = finding["type"]
    context: Mapping[str, Any] = finding.get("ctx", {})
    last = at[-1] if at else ""
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        return unknown_key(str(last), known_keys(model, at[:-1]))
    if kind == "missing":
        return _REQUIRED.get(str(last), "is missing")
    if kind == "string_type":
        if value is None:
            return "is empty"
        simple = isinstance(value, bool | int | float)
        return "must be text; put it in quotes" if simple else "must be text"
    if kind in _MAPPINGS:
        if last == "tls":
            return "must be {ca: …, cert: …, key: …}, or false for plain TCP"
        if str(finding["loc"][-1]) == "~on":
            return "must be a mapping of what to change, or false"
        hint = "; to switch it off, leave it out" if value is False else ""
        return f"must be a mapping (key: value){hint}"
    if kind in _LISTS:
        return "must be a list"
    if kind == "literal_error":
        return f"must be {context['expected']}".replace("'", "")
    if kind == "greater_than_equal":
        return f"must be at least {context['ge']}"
    if kind == "string_pattern_mismatch":
        return "must be an absolute path" if last == "path" else "must be letters, digits, - and _"
    return _WRONG.get(kind, str(finding["msg"]))


def unknown_key(key: str, known: list[str]) -> str:
    """What to say of a key that nobody knows: the one that was probably meant, or all of them."""
    spelled = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key.lower(), spelled, 1)
    near = near or [name for name in spelled if name.startswith(key.lower())]
    if near:
        return f"unknown key; did you mean '{spelled[near[0]]}'?"
    hint = _HINTS.get(key.lower())
    if hint and ("'endpoint'" not in hint or "endpoint" in known):
        return f"unknown key; {hint}"
    return f"unknown key; there are: {', '.join(known)}"


def known_keys(model: type[BaseModel], at: Loc) -> list[str]:
    """The keys of the mapping at ``at`` in a section."""
    kind: Any = model
    for step in at:
        section = _section(kind)
        if isinstance(step, str) and section is not None:
            fields = section.model_fields
            match = [f for name, f in fields.items() if step in (name, f.alias)]
            kind = match[0].annotation if match else None
        else:
            kind = _item(kind)
    section = _section(kind)
    if section is None:
        return []
    return [field.alias or name for name, field in section.model_fields.items()]


def _section(kind: Any) -> type[BaseModel] | None:
    """The section in an annotation like ``Section | None``."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    if get_origin(kind) in {Union, UnionType, Annotated}:
        for part in get_args(kind):
            found = _section(part)
            if found is not None:
                return found
    return None


def _item(kind: Any) -> Any:
    """What is in a list or mapping: X of ``tuple[X, ...]`` and of ``dict[str, X]``."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType, Annotated}:
        return next((found for part in parts if (found := _item(part)) is not None), None)
    if origin is dict:
        return parts[1]
    return parts[0] if origin in {tuple, list} else None


def _value(raw: Any, at: Loc) -> Any:
    for step in at:
        if isinstance(raw, dict):
            raw = raw.get(str(step))
        elif isinstance(raw, list) and isinstance(step, int) and step < len(raw):
            raw = raw[step]
        else:
            return None
    return raw
