"""The check of a whole store: what ``ros fsck`` reports.

Owns the walk over every object and every link, and what a damaged object touches. It changes
nothing. Without the content it cannot follow a damaged record's links; what only that record leads
to is then neither reached nor missed, and the record itself is named.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rosdb.errors import BadSetting, JournalDamaged, StoreError
from rosdb.index import Index
from rosdb.journal import Journal, Position
from rosdb.object_store import Objects
from rosdb.objects import Kind, Link, ObjectId
from rosdb.verify import verify_all


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One object that is not what a link says, and every ref from which it is reached."""

    object_id: ObjectId
    kind: str
    """``blob``, ``record``, or ``unknown`` where nothing sound says it."""

    reason: str
    touches: tuple[str, ...]
    has_sound_copy: bool = False
    """Another copy is sound: nothing is lost, and a repair takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFault:
    """A file with bytes that belong to no object."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalState:
    """What the check found of the journal."""

    ok: bool
    entries: int
    head: str
    torn_bytes: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the check found. ``bytes`` counts content; ``dangling`` is reached from no ref."""

    objects: int
    bytes: int
    damaged: tuple[Fault, ...]
    missing: tuple[Fault, ...]
    dangling: tuple[ObjectId, ...]
    files: tuple[FileFault, ...]
    index_differs: bool
    journal: JournalState

    @property
    def ok(self) -> bool:
        """Nothing is damaged or missing; the next use mends a torn tail and a stale index."""
        return not (self.damaged or self.missing or self.files) and self.journal.ok


def check(
    objects: Objects,
    journal: Journal,
    open_index: Callable[[], Index],
    fresh_index: Index,
    advance: Callable[[int], None],
    *,
    is_quick: bool,
) -> Report:
    """Re-hash every object, walk every link from every ref, verify the chain of the journal.

    The index is held against a fresh one, and the journal against what the index has seen of it.
    ``advance`` is called with the number of content bytes after each object, for a progress bar.
    """
    state, refs = _read_journal(journal)
    found = verify_all(objects, is_quick=is_quick, advance=advance)
    missing: dict[bytes, str] = {}
    wanted: dict[bytes, Kind] = dict(found.kinds)
    for target in _linked(refs, found.links):
        digest = target.digest
        kind = target.kind if isinstance(target, Link) else None
        if kind is not None:
            wanted.setdefault(digest, kind)
        if digest in found.bad_copies or digest in missing:
            continue
        if digest not in found.sizes:
            missing[digest] = "nothing is stored"
        elif kind is not None and found.kinds.get(digest) is not kind:
            missing[digest] = f"a {kind.name.lower()} is linked, another kind is stored"
    index_differs, cut = _compare(open_index, fresh_index)
    if state.ok and cut is not None:
        state = dataclasses.replace(state, ok=False, error=cut)
    lists = {digest for _, digest, _ in found.lists}  # their chunks are counted
    touched = _touched(refs, found.links, found.bad_copies.keys() | missing.keys())
    reached = _reached(refs.values(), found.links)
    bad_files = found.bad_files | _bad_settings(journal)

    def faults(reasons: Mapping[bytes, str]) -> tuple[Fault, ...]:
        return tuple(
            Fault(
                object_id=ObjectId(digest),
                kind=wanted[digest].name.lower() if digest in wanted else "unknown",
                reason=reasons[digest],
                touches=touched[digest],
                has_sound_copy=digest in found.sizes,
            )
            for digest in sorted(reasons)
        )

    return Report(
        objects=len(found.sizes.keys() | found.bad_copies.keys()),
        bytes=sum(
            n for each, n in found.sizes.items() if each in found.kinds and each not in lists
        ),
        damaged=faults({each: "; ".join(why) for each, why in found.bad_copies.items()}),
        missing=faults(missing),
        dangling=tuple(ObjectId(each) for each in sorted(found.kinds.keys() - reached)),
        files=tuple(FileFault(name=n, reason=r) for n, r in sorted(bad_files.items())),
        index_differs=index_differs,
        journal=state,
    )


def _bad_settings(journal: Journal) -> dict[str, str]:
    """Name the settings, where they cannot be read: nothing can be written then."""
    try:
        journal.may_lose_its_end  # noqa: B018 - asked for what it raises
    except BadSetting as bad:
        return {Path(bad.path).name: bad.reason}
    return {}


def _read_journal(journal: Journal) -> tuple[JournalState, dict[str, Link]]:
    refs: dict[str, Link] = {}
    position, entries, error = Position(), 0, None
    try:
        for entry in journal.entries():
            entry.apply(refs)
            position, entries = entry.end, entries + 1
    except JournalDamaged as damage:
        error = str(damage)
    state = JournalState(
        ok=error is None,
        entries=entries,
        head=position.head.hex(),
        torn_bytes=journal.bytes_behind(position) if error is None else 0,
        error=error,
    )
    return state, refs


def _compare(open_index: Callable[[], Index], fresh: Index) -> tuple[bool, str | None]:
    """Tell whether the index differs from a fresh one, and what it knows of a cut journal."""
    try:
        index = open_index()
        for _ in range(3):  # others may be writing between two looks
            index.catch_up()
            fresh.catch_up()
            if index.dump() == fresh.dump():
                return False, None
    except JournalDamaged as damage:
        return False, str(damage)
    except StoreError:
        return False, None  # locked for too long: there is nothing to hold against the other
    return True, None


def _linked(
    refs: Mapping[str, Link], links: Mapping[bytes, tuple[ObjectId, ...]]
) -> Iterator[ObjectId]:
    yield from refs.values()
    for targets in links.values():
        yield from targets


def _reached(starts: Iterable[ObjectId], links: Mapping[bytes, tuple[ObjectId, ...]]) -> set[bytes]:
    reached: set[bytes] = set()
    waiting = [start.digest for start in starts]
    while waiting:
        digest = waiting.pop()
        if digest not in reached:
            reached.add(digest)
            waiting.extend(target.digest for target in links.get(digest, ()))
    return reached


def _touched(
    refs: Mapping[str, Link],
    links: Mapping[bytes, tuple[ObjectId, ...]],
    bad: Iterable[bytes],
) -> dict[bytes, tuple[str, ...]]:
    """Return, for each bad object, the refs from which it is reached: links walked backwards."""
    bad = set(bad)
    if not bad:
        return {}
    parents: dict[bytes, list[bytes]] = {}
    for source, targets in links.items():
        for target in targets:
            parents.setdefault(target.digest, []).append(source)
    names: dict[bytes, list[str]] = {}
    for name, link in refs.items():
        names.setdefault(link.digest, []).append(name)
    touched: dict[bytes, tuple[str, ...]] = {}
    for digest in bad:
        ancestors, waiting = {digest}, [digest]
        while waiting:
            for parent in parents.get(waiting.pop(), ()):
                if parent not in ancestors:
                    ancestors.add(parent)
                    waiting.append(parent)
        touched[digest] = tuple(sorted(n for a in ancestors for n in names.get(a, ())))
    return touched
