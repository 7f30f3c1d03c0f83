"""The kinds of values in the configuration file, each with its check and its JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from exporter.config import files
from exporter.config.buildx import BUILDER_NAME
from exporter.config.images import PATTERN as IMAGE_PATTERN
from exporter.config.images import check_image
from exporter.config.units import (
    BYTES_PATTERN,
    DURATION_PATTERN,
    SHARE_PATTERN,
    Size,
    format_duration,
    format_size,
    parse_delay,
    parse_duration,
    parse_size,
)
from exporter.cron import parse as parse_cron
from exporter.platforms import normalise_platform

_REFERENCE = r".*\$\{[A-Za-z_][A-Za-z0-9_]*\}.*"


class Section(BaseModel):
    """A mapping of the configuration file: immutable, and without keys that nobody knows."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        populate_by_name=True,
        arbitrary_types_allowed=True,
        regex_engine="python-re",
    )


def tell(wrong: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
    """Raise what is wrong with several values below the one that is being validated."""
    if wrong:
        raise ValidationError.from_exception_data(
            "",
            [
                InitErrorDetails(
                    type=PydanticCustomError("value_error", "{error}", {"error": message}),
                    loc=loc,
                    input=None,
                )
                for loc, message in wrong
            ],
        )


def _pattern(pattern: str) -> str:
    return f"^({pattern}|{_REFERENCE})$"


def _text_schema(pattern: str, *examples: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": _pattern(pattern), "examples": list(examples), **more}
    )


# ------------------------------------------------------------------------------------- sizes


def _size(*, shares: bool = True, counts: bool = True, zero: str | None) -> Callable[[Any], Size]:
    """A reader of sizes. ``zero`` is what to say of nothing at all; ``None`` allows it."""

    units = [*(["GB", "MiB"] if counts else []), *(["%"] if shares else [])]

    def read(value: Any) -> Size:
        size = parse_size(value, units)
        if size.is_share and not shares:
            raise ValueError(f"'{value}' must be a number of bytes; write 512MiB or 20GB")
        if not size.is_share and not counts:
            raise ValueError(f"'{value}' must be a share; write 10%")
        if size.number == 0 and zero is not None:
            raise ValueError(zero)
        return size

    return read


_WRITTEN = PlainSerializer(format_size, return_type=str)
_NOT_ZERO = "must be more than nothing"
_KEEP_NOTHING = (
    "would keep nothing of the cache, each time; to empty a cache once, by hand, there is "
    "`buildfarm-exporter prune --empty`"
)
_SIZE_SCHEMA = _text_schema(f"{BYTES_PATTERN}|{SHARE_PATTERN}", "10GB", "512MiB", "15%")

Limit = Annotated[Size, PlainValidator(_size(zero=_NOT_ZERO)), _WRITTEN, _SIZE_SCHEMA]
"""A size or a share, more than zero."""

Keep = Annotated[
    Size,
    PlainValidator(_size(zero=_KEEP_NOTHING)),
    _WRITTEN,
    _SIZE_SCHEMA,
]
"""How much cache to keep. Zero is refused: a slip of the pen must not cost a whole cache."""

ShareOf = Annotated[
    Size,
    PlainValidator(_size(counts=False, zero=_NOT_ZERO)),
    _WRITTEN,
    _text_schema(SHARE_PATTERN, "10%", "3%"),
]
"""A share, more than zero."""

Bytes = Annotated[
    Size,
    PlainValidator(_size(shares=False, zero=None)),
    _WRITTEN,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": _pattern(BYTES_PATTERN)}, {"const": 0}],
            "examples": ["256MiB", "1GB"],
        }
    ),
]
"""A number of bytes, zero too."""

# --------------------------------------------------------------------------------- durations


def _at_least(least: float) -> AfterValidator:
    def check(seconds: float) -> float:
        if seconds < least:
            raise ValueError(f"must be at least {format_duration(least)}")
        return seconds

    return AfterValidator(check)


_DURATION_SCHEMA = _text_schema(rf"(?=.){DURATION_PATTERN}", "15s", "2m", "6h", "7d")

Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
"""Seconds, more than zero."""

Delay = Annotated[float, BeforeValidator(parse_delay), _DURATION_SCHEMA]
"""Seconds, or nothing."""

Interval = Annotated[float, BeforeValidator(parse_duration), _at_least(1.0), _DURATION_SCHEMA]
"""Seconds between two looks: at least one, so that a slip of the pen floods no node."""

Timeout = Annotated[float, BeforeValidator(parse_duration), _at_least(0.1), _DURATION_SCHEMA]
"""Seconds to wait: a tenth at least."""

GraceTime = Annotated[float, BeforeValidator(parse_duration), _at_least(60.0), _DURATION_SCHEMA]
"""Seconds before something is removed: a minute at least, as a builder that is made anew needs."""

# -------------------------------------------------------------------------------------- text


def _text(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty")
    return value


def _urls(*schemes: str, userinfo: bool = False) -> BeforeValidator:
    """A check for URLs of these schemes. What is wrong is said without repeating the URL."""
    choice = " or ".join(f"{scheme}://…" for scheme in schemes)

    def check(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            url = urlsplit(value)
            host, password, _ = url.hostname, url.password, url.port
        except ValueError:
            raise ValueError("not a URL") from None
        if url.scheme.lower() not in schemes or any(char.isspace() for char in value):
            raise ValueError(f"must be a URL: {choice}")
        if not host and not userinfo:
            raise ValueError("the URL names no host")
        if password is not None and not userinfo:
            raise ValueError("put no password into a URL; 'basic_auth' is for that")
        return value

    return BeforeValidator(check)


def _builder(name: str) -> str:
    if not BUILDER_NAME.fullmatch(name):
        raise ValueError("no builder's name; write it as `docker buildx ls` shows it, without *")
    return name


def _cron(value: str) -> str:
    if parse_cron(value).never:
        raise ValueError(f"'{value}' never comes: no month that it names has such a day")
    return value


Text = Annotated[str, BeforeValidator(_text)]
"""Text that is not empty."""

BuilderName = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(_builder),
    _text_schema(BUILDER_NAME.pattern, "farm"),
]
"""The name of a builder in the buildx store."""

Image = Annotated[
    str,
    BeforeValidator(_text),
    AfterValidator(check_image),
    _text_schema(IMAGE_PATTERN, "busybox:stable"),
]
"""The reference of an image."""

HttpUrl = Annotated[
    str, _urls("http", "https"), WithJsonSchema({"type": "string", "pattern": "^(https?://|.*\\$)"})
]
"""An address on the web, without a password in it."""

Cron = Annotated[
    str, AfterValidator(_cron), WithJsonSchema({"type": "string", "examples": ["0 */6 * * *"]})
]
"""When something is due, as in crontab(5)."""

Platform = Annotated[
    str,
    AfterValidator(normalise_platform),
    WithJsonSchema({"type": "string", "examples": ["linux/amd64", "linux/arm64", "linux/arm/v7"]}),
]
"""A platform as BuildKit reports it."""

# ------------------------------------------------------------------------------------- files


def _file(check: Callable[[Path], Path]) -> AfterValidator:
    """Resolve a path and check the file, if the validation's context says where paths start."""

    def resolve(path: Path, info: ValidationInfo) -> Path:
        places = info.context
        return check(places.path(str(path))) if isinstance(places, files.Places) else path

    return AfterValidator(resolve)


_PATH_SCHEMA = WithJsonSchema({"type": "string"})

AnyFile = Annotated[Path, _file(files.check_readable), _PATH_SCHEMA]
IdentityFile = Annotated[Path, _file(files.check_identity), _PATH_SCHEMA]
CaFile = Annotated[Path, _file(lambda path: files.check_pem(path, "ca")), _PATH_SCHEMA]
CertFile = Annotated[Path, _file(lambda path: files.check_pem(path, "cert")), _PATH_SCHEMA]
KeyFile = Annotated[Path, _file(lambda path: files.check_pem(path, "key")), _PATH_SCHEMA]
SecretFile = Annotated[
    Path,
    _file(lambda path: path),
    WithJsonSchema({"type": "string", "examples": ["/run/secrets/x"]}),
]
"""Read, and complained of, before validation: see :mod:`exporter.config.substitute`."""
