"""The check of a whole store: what ``ros fsck`` reports.

Owns the walk over every object and every link, and what a damaged object touches. It changes
nothing. Without the content it cannot follow a damaged record's links; what only that record leads
to is then neither reached nor missed, and the record itself is named.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rosdb.errors import (
    JournalDamaged,
    NotCanonical,
    ObjectCorrupt,
    ObjectMissing,
    StoreError,
)
from rosdb.index import Index
from rosdb.journal import Journal, Position
from rosdb.object_store import LooseObjects
from rosdb.objects import Kind, Link, ObjectId, decode_record


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One object that is not what a link says, and every ref from which it is reached."""

    object_id: ObjectId
    reason: str
    touches: tuple[str, ...]


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
    index_differs: bool
    journal: JournalState

    @property
    def ok(self) -> bool:
        """Nothing is damaged or missing; the next use mends a torn tail and a stale index."""
        return not self.damaged and not self.missing and self.journal.ok


def check(
    objects: LooseObjects,
    journal: Journal,
    open_index: Callable[[], Index],
    fresh_index: Index,
    advance: Callable[[int], None],
) -> Report:
    """Re-hash every object, walk every link from every ref, verify the chain of the journal.

    The index is held against a fresh one, and the journal against what the index has seen of it.
    ``advance`` is called with the number of content bytes after each object, for a progress bar.
    """
    state, refs = _read_journal(journal)
    kinds: dict[ObjectId, Kind] = {}
    sizes: dict[ObjectId, int] = {}
    links: dict[ObjectId, tuple[Link, ...]] = {}
    damaged: dict[ObjectId, str] = {}
    for object_id in objects.listing():
        try:
            kinds[object_id], sizes[object_id], links[object_id] = _verify(objects, object_id)
        except (ObjectCorrupt, ObjectMissing, NotCanonical) as error:
            damaged[object_id] = getattr(error, "reason", str(error))
        advance(sizes.get(object_id, 0))
    missing: dict[ObjectId, str] = {}
    for target in _linked(refs, links):
        if target not in damaged and kinds.get(target) is not target.kind:
            found = f"a {kinds[target].name.lower()}" if target in kinds else "nothing"
            missing[target] = f"{target.kind.name.lower()} linked, but {found} is stored"
    index_differs, cut = _compare(open_index, fresh_index)
    if state.ok and cut is not None:
        state = dataclasses.replace(state, ok=False, error=cut)
    touched = _touched(refs, links, damaged.keys() | missing.keys())
    reached = _reached(refs.values(), links)
    return Report(
        objects=len(sizes) + len(damaged),
        bytes=sum(sizes.values()),
        damaged=_faults(damaged, touched),
        missing=_faults(missing, touched),
        dangling=tuple(sorted(sizes.keys() - reached)),
        index_differs=index_differs,
        journal=state,
    )


def _read_journal(journal: Journal) -> tuple[JournalState, dict[str, Link]]:
    refs: dict[str, Link] = {}
    position, entries, error = Position(), 0, None
    try:
        for entry in journal.entries():
            for move in entry.moves:
                if move.new is None:
                    refs.pop(move.ref, None)
                else:
                    refs[move.ref] = move.new
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


def _verify(objects: LooseObjects, object_id: ObjectId) -> tuple[Kind, int, tuple[Link, ...]]:
    if objects.kind(object_id) is Kind.BLOB:
        return Kind.BLOB, objects.verify(object_id).size, ()
    _, content = objects.load(object_id, Kind.RECORD)
    return Kind.RECORD, len(content), tuple(decode_record(content).links.values())


def _linked(refs: Mapping[str, Link], links: Mapping[ObjectId, tuple[Link, ...]]) -> Iterator[Link]:
    yield from refs.values()
    for targets in links.values():
        yield from targets


def _reached(
    starts: Iterable[ObjectId], links: Mapping[ObjectId, tuple[Link, ...]]
) -> set[ObjectId]:
    reached: set[ObjectId] = set()
    waiting = list(starts)
    while waiting:
        object_id = waiting.pop()
        if object_id not in reached:
            reached.add(object_id)
            waiting.extend(links.get(object_id, ()))
    return reached


def _touched(
    refs: Mapping[str, Link],
    links: Mapping[ObjectId, tuple[Link, ...]],
    bad: Iterable[ObjectId],
) -> dict[ObjectId, tuple[str, ...]]:
    """Return, for each bad object, the refs from which it is reached: links walked backwards."""
    bad = set(bad)
    if not bad:
        return {}
    parents: dict[ObjectId, list[ObjectId]] = {}
    for source, targets in links.items():
        for target in targets:
            parents.setdefault(target, []).append(source)
    names: dict[ObjectId, list[str]] = {}
    for name, target in refs.items():
        names.setdefault(target, []).append(name)
    touched: dict[ObjectId, tuple[str, ...]] = {}
    for object_id in bad:
        ancestors, waiting = {object_id}, [object_id]
        while waiting:
            for parent in parents.get(waiting.pop(), ()):
                if parent not in ancestors:
                    ancestors.add(parent)
                    waiting.append(parent)
        touched[object_id] = tuple(sorted(n for a in ancestors for n in names.get(a, ())))
    return touched


def _faults(
    reasons: Mapping[ObjectId, str], touched: Mapping[ObjectId, tuple[str, ...]]
) -> tuple[Fault, ...]:
    return tuple(
        Fault(object_id=object_id, reason=reasons[object_id], touches=touched[object_id])
        for object_id in sorted(reasons)
    )
