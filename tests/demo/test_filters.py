"""BuildKit's filters, as containerd reads them."""

from __future__ import annotations

import pytest

from exporter.demo.filters import parse_filters

RECORD = {"id": "q1", "type": "exec.cachemount", "description": "RUN make, test", "mutable": ""}


@pytest.mark.parametrize(
    ("filters", "passes"),
    [
        ([], True),
        (["type==exec.cachemount"], True),
        (["type==regular"], False),
        (["type!=exec.cachemount"], False),
        (["type!=regular"], True),
        (["type~=^exec"], True),
        (["type~=frontend|internal"], False),
        (["mutable"], True),
        (["shared"], False),
        (["shared!=x"], True),
        (["type==exec.cachemount,mutable"], True),
        (["type==exec.cachemount,shared"], False),
        (["shared", "mutable"], True),
        (['description=="RUN make, test"'], True),
        (['description~="make, t",id==q2'], False),
    ],
)
def test_conditions_of_one_filter_are_joined_by_and_filters_by_or(
    filters: list[str], passes: bool
) -> None:
    assert parse_filters(filters)(RECORD) is passes


@pytest.mark.parametrize("text", ["type=", "type=x", "type==a b", "==x", "type~=("])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"parse error|unterminated"):
        parse_filters([text])
