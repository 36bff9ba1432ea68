"""The settings of a store: what ``config.toml`` says.

Owns the names and values that are allowed. A setting that cannot be read is refused in one line,
never guessed: a store that was to be durable must not become less so by a typing error.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from rosdb.errors import BadSetting

Durability = Literal["full", "batch", "none"]
_TEXT_BYTES_MAX: Final = 64 * 1024
DEFAULT_TEXT: Final = """\
# Settings of this store; see docs/format.md, section 5.

# What a commit that has returned is worth after a power cut:
#   "full"   everything is on the disk
#   "batch"  the last second's commits may be gone, as wholes
#   "none"   whatever the system had not written yet may be gone or torn
durability = "full"
"""
_DURABILITIES: Final = ("full", "batch", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one store."""

    durability: Durability = "full"


def read_settings(path: Path) -> Settings:
    """Read the settings; a missing file has none.

    Raises: BadSetting.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(_TEXT_BYTES_MAX + 1)
        text = data.decode("utf-8").replace("\r\n", "\n")
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        raise BadSetting(str(path), error.strerror or "unreadable") from None
    except UnicodeDecodeError as error:
        raise BadSetting(str(path), str(error)) from None
    if len(data) > _TEXT_BYTES_MAX:
        raise BadSetting(str(path), f"it is longer than {_TEXT_BYTES_MAX} bytes")
    if text == DEFAULT_TEXT:
        return Settings()
    import tomllib

    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadSetting(str(path), " ".join(str(error).split())) from None
    for name in sorted(values.keys() - {"durability"}):
        raise BadSetting(str(path), f"{name!r} is no setting")
    durability = values.get("durability", "full")
    if durability not in _DURABILITIES:
        raise BadSetting(str(path), f'durability is "full", "batch" or "none", not {durability!r}')
    return Settings(durability=cast(Durability, durability))
