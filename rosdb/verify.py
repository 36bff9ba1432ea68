"""The verification of all that is stored, on all cores.

Owns the reading of every entry and loose object, and what each is found to be. Knows nothing of
refs. The packs are read as their indexes have them, in the order of the files; what an index does
not lead to is found by the places between.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from rosdb import disk, pack_file
from rosdb.chunks import decode_list
from rosdb.errors import NotCanonical, ObjectCorrupt, ObjectMissing
from rosdb.object_store import Objects
from rosdb.objects import DIGEST_SIZE, Kind, Link, ObjectId, decode_record
from rosdb.pack_file import MAGIC, Damaged, Entry, PackFile
from rosdb.pack_window import PackWindow
from rosdb.packs import Place
from rosdb.verify_lists import USELESS, Listed, ListVerifier, Verified, families

_TASK_ENTRIES: Final = 1024


@dataclass(slots=True)
class Findings:
    """What is stored: kind, content size and links of each sound object, by digest; and the rest.

    A chunk list links to its chunks and inner lists; the latter have no kind of their own.
    """

    kinds: dict[bytes, Kind] = field(default_factory=dict)
    sizes: dict[bytes, int] = field(default_factory=dict)
    links: dict[bytes, tuple[ObjectId, ...]] = field(default_factory=dict)
    """Of those that have any."""

    bad_copies: dict[bytes, list[str]] = field(default_factory=dict)
    """Why a copy is damaged; a sound one may be in ``sizes`` all the same."""

    bad_files: dict[str, str] = field(default_factory=dict)
    """Files with bytes that belong to no entry, and why."""

    bad_packs: set[str] = field(default_factory=set)
    bad_loose: set[ObjectId] = field(default_factory=set)
    done: dict[str, dict[int, int]] = field(default_factory=dict)
    """By pack: where chunks begin and end that were verified as parts of a blob."""

    lists: list[tuple[Place, bytes, int]] = field(default_factory=list)
    """Chunk lists: where, of which blob, of what size. The check over a list's bytes has passed."""

    useless_lists: set[tuple[str, bytes]] = field(default_factory=set)
    """By pack and blob: lists that put no blob together, or a blob of which a copy is sound."""


Outcome = tuple[bytes, Entry | None, int, tuple[ObjectId, ...], str]
"""An object: digest, kind of entry (None: damaged), size, links, the reason for damage."""

Region = tuple[bytes, int, int]
"""The digest that an entry is to have, where it begins, and where it is to end."""


Done = tuple[int, int | None, Outcome]
"""Where an entry begins, where bytes behind it begin that are none's, and what it is."""


def verify_all(objects: Objects, *, is_quick: bool, advance: Callable[[int], None]) -> Findings:
    """Read everything. Quick: structure and checksums of the stored bytes, not the content.

    ``advance`` is called with the number of content bytes that were verified.
    Raises: StoreUnreadable.
    """
    objects.close()  # what was seen to be sound before is looked at once more
    objects.packs.refresh()
    objects.packs.verify_indexes()
    findings = Findings()
    places, lists = _places(objects)
    bad_lists: dict[Place, str] = {}
    if lists and not is_quick:
        bad_lists = _verify_lists(objects, findings, places, lists, advance)
    _verify_packs(objects, findings, places, is_quick, advance)
    for outcome in _verify_loose(objects):
        _note(findings, outcome, None, advance)
    bad: list[tuple[str, bytes]] = []
    for place, digest, size in findings.lists:
        reason = bad_lists.get(place)
        if reason is None:
            findings.kinds[digest], findings.sizes[digest] = Kind.BLOB, size
            continue
        bad.append((place.pack, digest))
        _note_bad(findings, digest, place, reason)
        if reason == USELESS:
            findings.useless_lists.add((place.pack, digest))
    findings.useless_lists.update(each for each in bad if each[1] in findings.sizes)
    return findings


def _verify_lists(
    objects: Objects,
    findings: Findings,
    places: dict[str, dict[int, bytes]],
    lists: list[tuple[Place, bytes]],
    advance: Callable[[int], None],
) -> dict[Place, str]:
    """Hash the blobs in chunks; return what is wrong with which. Chunks met are done with."""
    from rosdb.spread import spread

    def verify(family: list[Listed]) -> tuple[dict[Place, str], Verified]:
        verifier = ListVerifier(objects)
        return verifier.verify(family), verifier.verified

    bad_lists: dict[Place, str] = {}
    for bad, verified in spread(verify, families(_rows(objects, lists))):
        bad_lists |= bad
        for name, (numbers, digests) in verified.items():
            done = findings.done.setdefault(name, {})
            for row, (offset, end, size) in enumerate(zip(*[iter(numbers)] * 3, strict=True)):
                digest = bytes(digests[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE])
                # An index that lies has another id for the place: that is looked at later.
                if places[name].get(offset) == digest:
                    done[offset] = end
                    findings.kinds[digest], findings.sizes[digest] = Kind.BLOB, size
                    advance(size)
    return bad_lists


def _verify_packs(
    objects: Objects,
    findings: Findings,
    places: dict[str, dict[int, bytes]],
    is_quick: bool,
    advance: Callable[[int], None],
) -> None:
    from rosdb.spread import spread

    tasks: list[tuple[str, list[Region]]] = []
    for name, found in places.items():
        try:
            regions = _regions(findings, objects.packs.pack(name), name, found)
        except OSError as refused:
            disk.refuse_to_guess(refused, objects.packs.path(name))
            findings.bad_files[objects.packs.path(name).name] = refused.strerror or "unreadable"
            continue
        cuts = range(0, len(regions), _TASK_ENTRIES)
        tasks += [(name, regions[i : i + _TASK_ENTRIES]) for i in cuts]

    def verify(task: tuple[str, list[Region]]) -> tuple[str, list[Done]]:
        name, regions = task
        return name, _verify_regions(objects.packs.pack(name), regions, is_quick)

    for name, done in spread(verify, tasks):
        for offset, behind, outcome in done:
            _note(findings, outcome, Place(name, offset), advance)
            if behind is not None:
                findings.bad_files[objects.packs.path(name).name] = (
                    f"no entry begins at byte {behind}"
                )
                findings.bad_packs.add(name)


def _places(objects: Objects) -> tuple[dict[str, dict[int, bytes]], list[tuple[Place, bytes]]]:
    """Return what the indexes have at which offset of each pack; and where lists of chunks are."""
    places: dict[str, dict[int, bytes]] = {name: {} for name in objects.packs.names()}
    lists: dict[Place, bytes] = {}
    for layer in objects.packs.layers().values():
        names = layer.index.pack_names
        found = [places.get(name, {}) for name in names]
        for digest, number, offset, kind in layer.index.rows():
            found[number][offset] = digest
            if kind == Entry.CHUNKS and names[number] in places:
                lists[Place(names[number], offset)] = digest
    return places, list(lists.items())


def _rows(objects: Objects, lists: list[tuple[Place, bytes]]) -> list[Listed]:
    found: list[Listed] = []
    for place, digest in lists:
        with contextlib.suppress(Damaged, OSError):  # it is verified by itself, as an entry
            found.append((place, digest, *objects.rows_of(place, digest)))
    return found


def _regions(
    findings: Findings, pack: PackFile, name: str, places: dict[int, bytes]
) -> list[Region]:
    """Return what of a pack is still to be verified; note what of it belongs to no entry."""
    offsets = sorted(places)
    known = findings.done.get(name, {})
    if pack.read(len(MAGIC), 0) != MAGIC:
        findings.bad_files[pack.path.name] = "it does not start as a pack does"
        findings.bad_packs.add(name)
    elif (offsets[0] if offsets else pack.size) != len(MAGIC):
        findings.bad_files[pack.path.name] = f"no entry begins at byte {len(MAGIC)}"
        findings.bad_packs.add(name)
    return [
        (places[offset], offset, end)
        for offset, end in pairwise([*offsets, pack.size])
        if known.get(offset) != end
    ]


def _verify_regions(pack: PackFile, regions: list[Region], is_quick: bool) -> list[Done]:
    """Verify entries; return where each begins, and where bytes behind it begin that are none's."""
    window = PackWindow(pack)
    done: list[Done] = []
    for region in regions:
        _, offset, end = region
        taken, outcome = _verify_entry(window, region, is_quick)
        behind = offset + taken
        done.append((offset, behind if taken and behind < end else None, outcome))
    return done


def _verify_entry(window: PackWindow, region: Region, is_quick: bool) -> tuple[int, Outcome]:
    """Verify an entry; return how many bytes it takes, 0 where that is not known."""
    digest, offset, end = region
    taken = 0

    def found(entry: Entry, size: int, links: tuple[ObjectId, ...] = ()) -> tuple[int, Outcome]:
        return taken, (digest, entry, size, links, "")

    try:
        header, head, stored = window.entry(offset)
        if header.digest != digest:
            raise Damaged("another entry stands where its index points")
        if offset + header.end > end:
            raise Damaged(f"it takes {header.end} bytes where {end - offset} are its own")
        if not pack_file.is_checked(head, stored):
            raise Damaged("its stored bytes do not add up")
        taken = header.end
        if is_quick and header.entry is Entry.BLOB:
            return found(header.entry, header.content_bytes)
        content = pack_file.decode_content(header, stored)
        if header.entry is Entry.BLOB:
            return found(header.entry, len(content))
        if header.entry is Entry.RECORD:
            links = tuple(decode_record(bytes(content)).links.values())
            return found(header.entry, len(content), links)
        rows = decode_list(memoryview(content))[1]
        parts = tuple(ObjectId(each) for each, _ in rows)
        return found(header.entry, sum(size for _, size in rows), parts)
    except (Damaged, NotCanonical) as error:
        return taken, (digest, None, 0, (), str(error))
    except OSError as error:
        disk.refuse_to_guess(error, window.pack.path)
        return taken, (digest, None, 0, (), error.strerror or "unreadable")


def _verify_loose(objects: Objects) -> Iterator[Outcome]:
    for object_id in objects.loose.listing():
        digest = object_id.digest
        try:
            header = objects.loose.verify(object_id)
            links: tuple[Link, ...] = ()
            if header.kind is Kind.RECORD:
                content = objects.loose.load(object_id)[1]
                links = tuple(decode_record(content).links.values())
            yield digest, Entry(header.kind), header.size, links, ""
        except (ObjectCorrupt, NotCanonical) as error:
            yield digest, None, 0, (), error.reason
        except ObjectMissing:
            continue  # collected since it was listed


def _note(
    findings: Findings, outcome: Outcome, place: Place | None, advance: Callable[[int], None]
) -> None:
    digest, entry, size, links, reason = outcome
    if entry is None:
        _note_bad(findings, digest, place, reason)
        return
    if links:
        # A blob may be in two lists that cut it in two ways.
        findings.links[digest] = tuple(dict.fromkeys(findings.links.get(digest, ()) + links))
    if entry is Entry.CHUNKS:
        assert place is not None
        findings.lists.append((place, digest, size))  # sound if all of its chunks are
        return
    if entry is not Entry.INNER:
        findings.kinds[digest] = Kind.RECORD if entry is Entry.RECORD else Kind.BLOB
    findings.sizes[digest] = size
    advance(size)


def _note_bad(findings: Findings, digest: bytes, place: Place | None, reason: str) -> None:
    if place is None:
        findings.bad_loose.add(ObjectId(digest))
        where = "loose"
    else:
        findings.bad_packs.add(place.pack)
        where = f"in pack {place.pack[:12]}"
    findings.bad_copies.setdefault(digest, []).append(f"{reason} ({where})")


def verify_object(objects: Objects, object_id: Link) -> list[Link]:
    """Re-hash an object in bounded memory; return what it links to.

    Raises: ObjectMissing, ObjectCorrupt.
    """
    if object_id.kind is Kind.RECORD:
        return list(objects.load_record(object_id).links.values())
    found = objects.verify(object_id)
    if found.kind is not object_id.kind:
        raise ObjectCorrupt(str(object_id), f"a {found.kind.name.lower()} by its header")
    return []


def verify_closure(
    verify: Callable[[Link], list[Link]], waiting: list[Link]
) -> tuple[int, dict[ObjectId, ObjectMissing | ObjectCorrupt]]:
    """Verify all that some objects reach: how many they are, and what is wrong with them."""
    seen: set[ObjectId] = set()
    damaged: dict[ObjectId, ObjectMissing | ObjectCorrupt] = {}
    while waiting:
        link = waiting.pop()
        if link in seen:
            continue
        seen.add(link)
        try:
            waiting += verify(link)
        except (ObjectMissing, ObjectCorrupt) as error:
            damaged[link] = error
    return len(seen), damaged
