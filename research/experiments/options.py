"""The options of a workspace: what its ``ros.toml`` says.

Owns the names and the values that are allowed. An option that cannot be read is refused in one
line, never guessed: a list of forbidden modules must not become shorter by a typing error.

    [cache]
    code = "syntax"              # "bytes" (default): every byte counts; "syntax": what it says
    [run]
    forbidden = ["my_broker"]    # modules that no experiment may import, besides the list
    sandbox = "required"         # "best" (default): what the machine has; "hook": the hook alone
    strict = true                # clock, entropy, unseeded generators: refused, not only noted
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from research.errors import BadInput
from research.experiments.sandbox import WANTED, Wanted

FILE: Final = "ros.toml"
CodeKey = Literal["bytes", "syntax"]

_BYTES_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a workspace has chosen."""

    code: CodeKey = "bytes"
    forbidden: tuple[str, ...] = ()
    sandbox: Wanted = "best"
    strict: bool = False


def read_options(workspace: Path) -> Options:
    """Read a workspace's options; without a file there are none.

    Raises: BadInput naming the file and the option.
    """
    return Options(**_checked(read_toml(workspace / FILE)))


def read_toml(path: Path) -> dict[str, Any]:
    """Read a file of settings in a workspace; one that is not there says nothing.

    Raises: BadInput naming the file.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(_BYTES_MAX + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise BadInput(f"cannot read {path.name}: {error.strerror}") from None
    if len(data) > _BYTES_MAX:
        raise BadInput(f"{path.name} is longer than {_BYTES_MAX} bytes")
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None


def _checked(sections: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by their names; one that is unknown or cannot be is refused."""
    found: dict[str, Any] = {}
    for section, values in sections.items():
        if section not in _KNOWN or not isinstance(values, Mapping):
            raise BadInput(f"{FILE} has no section {section!r}; known: {', '.join(_KNOWN)}")
        for name, value in values.items():
            if name not in _KNOWN[section]:
                known = ", ".join(_KNOWN[section])
                raise BadInput(f"{FILE}: [{section}] has no option {name!r}; known: {known}")
            fits, wanted = _KNOWN[section][name]
            if not fits(value):
                raise BadInput(f"{FILE}: [{section}] {name} is {wanted}, not {value!r}")
            found[name] = tuple(value) if isinstance(value, list) else value
    return found


def _is_modules(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, str) and all(part.isidentifier() for part in each.split("."))
        for each in value
    )


# section -> option -> (whether a value fits, what is wanted); an option is a field of Options.
_KNOWN: Final[Mapping[str, Mapping[str, tuple[Callable[[Any], bool], str]]]] = {
    "cache": {"code": (lambda value: value in ("bytes", "syntax"), '"bytes" or "syntax"')},
    "run": {
        "forbidden": (_is_modules, "a list of module names"),
        "sandbox": (lambda value: value in WANTED, '"best", "required" or "hook"'),
        "strict": (lambda value: isinstance(value, bool), "true or false"),
    },
}
