"""Verification: whether a config is what was promoted.

Owns the comparison of a file with what the store has recorded. The bytes decide, by their hash;
where they are another's, the fields are compared with the nearest promotion of that strategy, and
those that differ are named. Nothing in the file is believed, its own hashes least of all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from research.context import Context
from research.errors import BadInput
from research.promotion.config import SAFETY, STRATEGY_PATTERN, is_same
from research.promotion.promotions import history
from rosdb import PROMOTIONS, Kind, ObjectId, Record, Store, id_of

Verdict = Literal["promoted", "superseded", "edited", "foreign"]

BYTES_MAX: Final = 16 * 1024 * 1024
_ABSENT: Final = "absent"
_COMPARED_MAX: Final = 20
"""An edited file is compared with so many promotions of its strategy, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A field that is not as it was promoted; "absent" where there is none."""

    field: str
    promoted: Any
    found: Any

    @property
    def is_safety(self) -> bool:
        """Whether it is a safety field, or a part of one."""
        return self.field.partition(".")[0] in SAFETY


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a file is. ``promotion`` is the one that it is, or that it was edited from."""

    verdict: Verdict
    strategy: str | None = None
    promotion: ObjectId | None = None
    run_id: ObjectId | None = None
    current: ObjectId | None = None
    changes: tuple[Change, ...] = ()
    explanation: str = ""

    @property
    def is_promoted(self) -> bool:
        """Whether it is what the newest promotion of its strategy has written."""
        return self.verdict == "promoted"


def verify_config(context: Context, path: Path) -> Verified:
    """Say whether a file is what was promoted, was edited since, or is none of ours.

    Raises: OSError; BadInput if it is too long to be a config; ObjectMissing, ObjectCorrupt if a
        promotion cannot be read.
    """
    store = context.store
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise BadInput(f"{path} is longer than {BYTES_MAX} bytes: it is no config")
    config_id = id_of(Kind.BLOB, content)
    for ref, newest in store.refs(PROMOTIONS):
        for promotion, record in history(store, newest):
            if record.links["config"] == config_id:
                is_newest = promotion == newest
                return Verified(
                    verdict="promoted" if is_newest else "superseded",
                    strategy=ref.removeprefix(PROMOTIONS),
                    promotion=promotion,
                    run_id=record.links["run"],
                    current=newest,
                    explanation="" if is_newest else "another run was promoted since",
                )
    return _edited(store, path, content)


def _edited(store: Store, path: Path, content: bytes) -> Verified:
    """Find the promotion that a file comes from, and what is not as it was."""
    config = _read(content)
    if not isinstance(config, Mapping):
        return _foreign("it is no config: it cannot be read as YAML with names and plain values")
    named = config.get("strategy")
    for strategy in (named, path.stem):
        if not isinstance(strategy, str) or not STRATEGY_PATTERN.fullmatch(strategy):
            continue
        newest = store.ref(PROMOTIONS + strategy)
        if newest is not None:
            return _nearest(store, strategy, newest, config)
    return _foreign(
        f"nothing was promoted here as {named if isinstance(named, str) else path.stem}"
    )


def _foreign(why: str) -> Verified:
    return Verified(verdict="foreign", explanation=why)


def _nearest(store: Store, strategy: str, newest: ObjectId, config: Mapping[str, Any]) -> Verified:
    """Compare with the promotions of a strategy; the one with the fewest changes is told of."""
    best: tuple[list[Change], ObjectId, Record] | None = None
    for count, (promotion, record) in enumerate(history(store, newest)):
        if count == _COMPARED_MAX:
            break
        promoted = yaml.safe_load(store.get_blob(record.links["config"]))
        changes = list(_changes("", promoted, config))
        if best is None or len(changes) < len(best[0]):
            best = (changes, promotion, record)
    assert best is not None, "a ref leads to one promotion at least"
    changes, promotion, record = best
    # What makes a config dangerous stands first.
    changes.sort(key=lambda change: not change.is_safety)
    return Verified(
        verdict="edited",
        strategy=strategy,
        promotion=promotion,
        run_id=record.links["run"],
        current=newest,
        changes=tuple(changes),
        explanation="" if changes else "its form alone: comments, order or spacing",
    )


class _PlainLoader(yaml.SafeLoader):
    """No anchors: we write none, and a few of them can stand for a billion values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse what refers to something else."""
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def _read(content: bytes) -> Any:
    """Read a config; None if it is none."""
    try:
        return yaml.load(content, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError):
        return None


def _changes(path: str, promoted: Any, found: Any) -> Iterator[Change]:
    """Yield the fields that differ, down to the smallest part that does."""
    if isinstance(promoted, Mapping) and isinstance(found, Mapping):
        for key in [*promoted, *(key for key in found if key not in promoted)]:
            here = f"{path}.{key}" if path else str(key)
            yield from _changes(here, promoted.get(key, _ABSENT), found.get(key, _ABSENT))
    elif isinstance(promoted, list) and isinstance(found, list) and len(promoted) == len(found):
        for place, (was, is_now) in enumerate(zip(promoted, found, strict=True)):
            yield from _changes(f"{path}[{place}]", was, is_now)
    elif not is_same(promoted, found):
        yield Change(field=path, promoted=promoted, found=_plain(found))


def _plain(value: Any) -> Any:
    """Return a value of YAML as JSON can hold it: a date, bytes or a set by its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
