"""The JSON Schema that editors complete from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from exporter.config.jsonschema import schema

EXAMPLE = (Path(__file__).parent / "example.yml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(schema())


def errors(validator: Draft202012Validator, text: str) -> list[str]:
    return [error.json_path for error in validator.iter_errors(yaml.safe_load(text))]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        "nodes: [{endpoint: 'ssh://a', prune: false, orphans: false, canary: {every: 1h}}]",
        "nodes: [{endpoint: 'tcp://a', tls: false, prune: {when: {cache_above: 1 GB}}}]",
        "canary: {workload: {cpu: 0, disk: 1.5GiB}}",
        "prune: {keep_storage: '${KEEP}', when: {full_within: '${WHEN}'}}",
        "canary: {base_image: '${HUB}/a', multiarch: {builder: '${B}', push: 'a:5/b'}}",
        "storage: {url: '${DATABASE}'}",
    ],
)
def test_good_files_pass(validator: Draft202012Validator, text: str) -> None:
    assert errors(validator, text) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("nodes: [{endpoint: 'ssh://a', host: a}]", "$.nodes[0]"),
        ("nodes: [{name: a}]", "$.nodes[0]"),
        ("prune: {keep_storage: 20, when: {cache_above: 60GB}}", "$.prune.keep_storage"),
        ("prune: {keep_storage: 20GB, when: {}}", "$.prune.when"),
        ("prune: {keep_storage: 20GB}", "$.prune"),
        (
            "prune: {keep_storage: 1GB, when: {inodes_free_below: 1GB}}",
            "$.prune.when.inodes_free_be",
        ),
        ("collect: {disk: 30}", "$.collect.disk"),
        ("collect: {disk: '30'}", "$.collect.disk"),
        ("canary: {base_image: 'docker://busybox'}", "$.canary.base_image"),
        ("canary: {multiarch: {builder: 'farm*', push: a}}", "$.canary.multiarch.builder"),
        ("alerting: {alerts: {BuildFarmDisk: {}}}", "$.alerting.alerts"),
        ("alerting: {alerts: {BuildFarmDiskLow: {within: 1h}}}", "$.alerting.alerts.BuildFarmDisk"),
        ("storage: {url: 'mysql://x'}", "$.storage.url"),
        ("log: {level: chatty}", "$.log.level"),
    ],
)
def test_mistakes_do_not(validator: Draft202012Validator, text: str, path: str) -> None:
    """An editor underlines what the exporter would complain of."""
    (error,) = errors(validator, text)
    assert error.startswith(path)


def properties(part: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """All properties anywhere in a schema."""
    if isinstance(part, dict):
        yield from part.get("properties", {}).items()
        for item in part.values():
            yield from properties(item)


def test_every_key_is_explained() -> None:
    """What an editor shows beside a key: its own description, or that of its section."""
    whole = schema()
    found = list(properties(whole))
    sections = {f"#/$defs/{name}": part for name, part in whole["$defs"].items()}
    explained = [{**sections.get(key.get("$ref", ""), {}), **key} for _, key in found]
    assert len(found) > 100
    assert [
        name for (name, _), key in zip(found, explained, strict=True) if not key.get("description")
    ] == []


def test_nobody_is_told_to_write_null() -> None:
    assert "null" not in str(schema())


def test_durations_default_as_people_write_them() -> None:
    collect = schema()["$defs"]["CollectSettings"]["properties"]
    assert (collect["cache"]["default"], collect["orphans"]["default"]) == ("2m", "1h")
