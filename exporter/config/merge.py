"""A node's own settings over those of the whole farm."""

from __future__ import annotations

from typing import Any

# Two ways to say one thing: whoever gives one of them means it instead of the other.
_INSTEAD = (
    {"schedule", "every"},
    {"passphrase", "passphrase_file"},
)


def without_nulls(value: Any) -> Any:
    """The same data without keys that have no value: ``key:`` alone is as if it were not there."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


def merge(base: Any, override: Any) -> Any:
    """``override`` over ``base``, key by key, also inside. An empty value takes a key away."""
    if not isinstance(base, dict) or not isinstance(override, dict):
        return override
    merged = dict(base)
    for pair in _INSTEAD:
        if pair & override.keys():
            for key in pair:
                merged.pop(key, None)
    for key, value in override.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
