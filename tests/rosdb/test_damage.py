"""The damage matrix: every kind of damage to every kind of file, and what is left of the store.

Each cell is one damage to one file of a small store. Whatever it is: what is read is the truth or
an error of the store; the check names it, unless it was made good; the repair brings back all that
is not lost, and takes nothing away.
"""

import contextlib
import itertools
import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rosdb import Entry, Link, ObjectId, Store, trees
from rosdb.chunks import WHOLE_BYTES_MAX
from rosdb.errors import BadSetting, StoreError
from rosdb.objects import Kind, Record, decode_record, encode_record
from rosdb.pack_file import MAGIC, PackFile, PackWriter, encode_header
from rosdb.pack_file import Entry as PackEntry
from rosdb.pack_index import encode_index

SEED = 20_261_122
FLIPS_SAMPLED = 4

# Of a loose file: magic, kind, codec, zeros, size, content. Of an entry, an index, a journal: the
# same, every field at its first and last byte.
LOOSE_FIELDS = (0, 3, 4, 5, 6, 7, 8, 15, 16, -5, -4, -1)
ENTRY_FIELDS = (0, 3, 4, 5, 6, 7, 8, 11, 15, 16, 19, 23, 24, 55, 56, 71, 72, -1)
INDEX_FIELDS = (0, 7, 8, 11, 12, 15, 16, 47, 48, 51, -1, -32, -33, -34, -44, -45)
FRAME_FIELDS = (0, 3, 4, 7, 8, 40, -1, -32, -33)


# --- The store that is damaged --------------------------------------------------------------------


@dataclass
class Sound:
    """A store, what it holds, and what its refs have led to."""

    path: Path
    contents: dict[Link, bytes] = field(default_factory=dict)
    history: dict[str, set[Link]] = field(default_factory=dict)
    refs: dict[str, Link] = field(default_factory=dict)
    older: Path = field(default_factory=Path)
    """The same store, some transactions ago."""

    files: dict[str, Path] = field(default_factory=dict)
    """Which file, relative to the store, stands for which row of the matrix."""


def build(folder: Path, *, is_twin: bool) -> Sound:
    """Make a store with a file of every kind; a twin has a second copy of every object."""
    sound = Sound(folder / "new" / ".ros", older=folder / "old" / ".ros")
    ticks = itertools.count(1_700_000_000_000_000_000, 1_000)
    Store.init(sound.path).close()
    store = Store.open(sound.path, who="ana@desk", now_ns=lambda: next(ticks))
    chance = random.Random(SEED)

    def blob(tx, content: bytes) -> Link:
        link = tx.put_blob(content)
        sound.contents[link] = content
        return link

    def record(tx, schema: str, fields: dict, links: dict[str, Link]) -> Link:
        link = tx.put_record(schema, fields, links)
        sound.contents[link] = encode_record(Record(schema, fields, links))
        return link

    def move(tx, name: str, link: Link) -> None:
        tx.move_ref(name, link, expected=sound.refs.get(name))
        sound.refs[name] = link
        sound.history.setdefault(name, set()).add(link)

    def put_run(number: int) -> None:
        with store.transaction(f"run {number}") as tx:
            fields = {"experiment": "sma", "parameters": {"fast": number}, "seed": 42}
            recipe = record(tx, "recipe/v1", fields, {})
            fields = {"created_at_ns": number, "kind": "run", "dataset": None}
            run = record(tx, "run/v1", fields, {"recipe": recipe})
            move(tx, f"runs/{run}", run)
            move(tx, f"names/r{number}", run)
            metrics = {"metrics": {"sharpe": float(number)}}
            outcome = record(tx, "outcome/v1", metrics, {"equity": blob(tx, b"up\n" * number * 99)})
            links = {"run": run, "outcome": outcome}
            state = record(tx, "status/v1", {"status": "completed", "seconds": 1.5}, links)
        with store.transaction("completed") as tx:
            move(tx, f"runs/{run}", state)

    put_run(1)
    long = chance.randbytes(WHOLE_BYTES_MAX) + b"the same again and again\n" * 9000
    with store.transaction("data") as tx:
        link = blob(tx, long)
        entry = Entry(kind="file", link=link, size=len(long), mode=0o644)
        tree = tx.put_tree({"ticks.bin": entry})
        sound.contents[tree] = encode_record(trees.tree_record({"ticks.bin": entry}))
        snapshot = record(tx, "snapshot/v1", {"name": "d"}, {"files": tree, "direct": link})
        move(tx, "datasets/d/1", snapshot)
    data_pack = newest_pack(sound.path)
    list(store.refs())
    store.close()
    shutil.copytree(sound.path, sound.older)
    (sound.older / "format").write_text("research-os store 1\n")
    (sound.older / "config.toml").write_text('durability = "none"\n')
    put_run(2)
    loose = {}
    for kind, content in (("raw", chance.randbytes(300)), ("zstd", b"loose and long\n" * 40)):
        link = store.put_blob(content)
        sound.contents[link] = content
        loose[kind] = link
        with store.transaction("loose") as tx:
            move(tx, f"names/{kind}", link)
    fields = {"text": "a record by itself"}
    link = store.put_record("note/v1", fields)
    sound.contents[link] = encode_record(Record("note/v1", fields))
    loose["record"] = link
    with store.transaction("note") as tx:
        move(tx, "promotions/note", link)
    list(store.refs())
    if is_twin:
        add_twins(store, sound)
    cover_two_packs(store)
    list(store.refs())
    store.close()
    pack = sound.path / "objects" / "pack"
    single = next(each for each in sorted(pack.glob("pack-*.idx")))
    sound.files = {
        "pack": data_pack.relative_to(sound.path),
        "pack-index": single.relative_to(sound.path),
        "multi-index": next(pack.glob("multi-*.idx")).relative_to(sound.path),
        **{f"loose-{k}": loose_path(o).relative_to(".") for k, o in loose.items()},
        **{name: Path(name) for name in ("journal", "format", "config.toml", "index.db")},
    }
    return sound


def loose_path(link: Link) -> Path:
    return Path("objects") / str(link)[:2] / str(link)[2:]


def newest_pack(path: Path) -> Path:
    packs = (path / "objects" / "pack").glob("pack-*.pack")
    return max(packs, key=lambda each: each.stat().st_size)


def add_twins(store: Store, sound: Sound) -> None:
    """Store a second copy: of what is packed a loose one, of what is loose one in another pack."""
    loose = set(store._objects.loose.listing())
    for link, content in sound.contents.items():
        if link not in loose:
            store._objects.loose.put(link.kind, link, content, is_synced=False)
    writer = PackWriter(store.path / "tmp")
    for link, content in sound.contents.items():
        if link in loose:
            head = encode_header(PackEntry(link.kind), 0, len(content), content, link.digest)
            writer.append(head, content)
    store._objects.packs.write_pack(writer, is_synced=False)


def cover_two_packs(store: Store) -> None:
    """Put one index in the place of those of the first two packs."""
    packs = store._objects.packs
    layers = [(n, layer.index) for n, layer in sorted(packs.layers().items())][:2]
    rows = [
        (digest, number, *rest)
        for number, (_, index) in enumerate(layers)
        for digest, _, *rest in index.rows()
    ]
    names = [name for _, index in layers for name in index.pack_names]
    packs.replace_indexes([name for name, _ in layers], encode_index(names, rows))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Sound]:
    print(f"seed {SEED}")
    return {
        name: build(tmp_path_factory.mktemp(name), is_twin=name == "twin")
        for name in ("single", "twin")
    }


# --- What befalls a file --------------------------------------------------------------------------


def delete(path: Path, sound: Sound) -> None:
    path.unlink()


def make_empty(path: Path, sound: Sound) -> None:
    write(path, b"")


def make_folder(path: Path, sound: Sound) -> None:
    path.unlink()
    path.mkdir()
    (path / "inside").write_bytes(b"somebody's")


def write(path: Path, data: bytes) -> None:
    """Write in the place of a file: others that have it open, or linked, keep theirs."""
    path.unlink()
    path.write_bytes(data)


def truncated(part: float) -> Callable[[Path, Sound], None]:
    """Cut a file: to a part of its length, or (a whole number) to that many bytes, or off its end."""

    def damage(path: Path, sound: Sound) -> None:
        data = path.read_bytes()
        write(path, data[:part] if isinstance(part, int) else data[: int(len(data) * part)])

    return damage


def zeroed(count: int) -> Callable[[Path, Sound], None]:
    def damage(path: Path, sound: Sound) -> None:
        data = path.read_bytes()
        write(path, data[:-count] + bytes(min(count, len(data))))

    return damage


def appended(more: bytes) -> Callable[[Path, Sound], None]:
    return lambda path, sound: write(path, path.read_bytes() + more)


def flipped(where: Callable[[bytes, Path], int], bit: int) -> Callable[[Path, Sound], None]:
    def damage(path: Path, sound: Sound) -> None:
        data = bytearray(path.read_bytes())
        data[where(bytes(data), path) % len(data)] ^= 1 << bit
        write(path, bytes(data))

    return damage


def swapped(path: Path, sound: Sound) -> None:
    """Swap a file with one of its kind; one that has no such with a loose object."""
    if path.parent.name == "pack":
        others = sorted(path.parent.glob(f"*{path.suffix}"))
    elif path.parent.parent.name == "objects":
        others = sorted(path.parent.parent.glob("[0-9a-f][0-9a-f]/*"))
    elif path.name == "index.db":
        others = [path.with_name("stat.db")]
        others[0].write_bytes(b"a cache")
    else:
        others = [sound.path / sound.files["loose-raw"]]
    other = next(each for each in others if each != path)
    mine, its = path.read_bytes(), other.read_bytes()
    write(path, its)
    write(other, mine)


def made_older(path: Path, sound: Sound) -> None:
    """Replace a file by what it was; an object's by another, for it never was anything else."""
    older = sound.older / path.relative_to(sound.path)
    if not older.is_file() or older.read_bytes() == path.read_bytes():
        others = (sound.older / path.parent.relative_to(sound.path)).glob(f"*{path.suffix}")
        if path.parent.name != "pack":
            others = (sound.older / "objects").glob("pack/*.pack")
        older = next(each for each in sorted(others) if each.is_file() and each.name != path.name)
    write(path, older.read_bytes())


def at(position: int) -> Callable[[bytes, Path], int]:
    return lambda data, path: position


def at_part(part: float) -> Callable[[bytes, Path], int]:
    return lambda data, path: int(len(data) * part)


def in_entry(which: str, position: int) -> Callable[[bytes, Path], int]:
    """Point into an entry of a pack: the first, the chunk list, an inner list, the last."""

    def where(data: bytes, path: Path) -> int:
        entries = [(offset, header) for offset, header in PackFile(path).scan() if header]
        numbers = {"list": 3, "record": 2, "chunk": 1}
        chosen = [each for each in entries if each[1].entry == numbers[which]]
        offset, header = chosen[len(chosen) // 2]
        return offset + (position if position >= 0 else header.end + position)

    return where


def in_journal(which: str, position: int) -> Callable[[bytes, Path], int]:
    """Point into an entry of the journal: the head, the middle, the tail."""

    def where(data: bytes, path: Path) -> int:
        ends = journal_ends(data)
        number = {"head": 0, "middle": len(ends) // 2, "tail": len(ends) - 2}[which]
        start, end = ends[number], ends[number + 1]
        return start + position if position >= 0 else end + position

    return where


def journal_ends(data: bytes) -> list[int]:
    ends = [16]
    while ends[-1] < len(data):
        ends.append(ends[-1] + 8 + int.from_bytes(data[ends[-1] :][:4], "little") + 32)
    return ends


def cut_in_journal(which: str, position: int) -> Callable[[Path, Sound], None]:
    def damage(path: Path, sound: Sound) -> None:
        data = path.read_bytes()
        write(path, data[: in_journal(which, position)(data, path)])

    return damage


Damage = Callable[[Path, Sound], None]


def damages(kind: str) -> Iterator[tuple[str, Damage]]:
    """Generate a row of the matrix."""
    yield "deleted", delete
    yield "empty", make_empty
    yield "folder", make_folder
    yield "swapped", swapped
    yield "older", made_older
    for part in (1, 15, 16, 0.25, 0.5, 0.9, -40, -1):
        yield f"cut-{part}", truncated(part)
    for count in (1, 16, 600):
        yield f"zeros-{count}", zeroed(count)
    for name, more in (("byte", b"\n"), ("zeros", bytes(600)), ("junk", b"\xa5junk" * 9)):
        yield f"appended-{name}", appended(more)
    chance = random.Random(f"{SEED} {kind}")
    for _ in range(FLIPS_SAMPLED):
        part, bit = round(chance.random(), 3), chance.randrange(8)
        yield f"flip-{part}-{bit}", flipped(at_part(part), bit)
    for name, where in structural(kind):
        yield f"flip-{name}", flipped(where, chance.randrange(8))
    if kind == "journal":
        for which, position in itertools.product(("head", "middle", "tail"), (0, 4, 8, 60, -1)):
            yield f"cut-{which}-{position}", cut_in_journal(which, position)


def structural(kind: str) -> Iterator[tuple[str, Callable[[bytes, Path], int]]]:
    """Generate the fields of a kind of file."""
    if kind.startswith("loose"):
        for position in LOOSE_FIELDS:
            yield f"field{position}", at(position)
    elif kind == "pack":
        yield "magic", at(len(MAGIC) - 1)
        for which, position in itertools.product(("list", "record", "chunk"), ENTRY_FIELDS):
            yield f"{which}{position}", in_entry(which, position)
    elif kind.endswith("index"):
        for position in INDEX_FIELDS:
            yield f"field{position}", at(position)
    elif kind == "journal":
        yield "magic", at(15)
        for which, position in itertools.product(("head", "middle", "tail"), FRAME_FIELDS):
            yield f"{which}{position}", in_journal(which, position)
    elif kind == "index.db":
        for position in (16, 18, 27, 28, 44, 60, 100):
            yield f"field{position}", at(position)


KINDS = (
    "loose-raw", "loose-zstd", "loose-record", "pack", "pack-index", "multi-index",
    "journal", "format", "config.toml", "index.db",
)  # fmt: skip
DERIVED = ("pack-index", "multi-index", "index.db")
OBJECTS = ("loose-raw", "loose-zstd", "loose-record", "pack")
CELLS = [
    pytest.param(store, kind, damage, id=f"{store}-{kind}-{name}")
    for kind in KINDS
    for name, damage in damages(kind)
    for store in (("single", "twin") if kind in ("loose-raw", "pack") else ("single",))
]


# --- What must hold -------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _unspread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify in this process: forks cost more than so small a store. ``test_check.py`` forks."""
    monkeypatch.setattr("rosdb.spread.spread", lambda work, tasks: map(work, tasks))


def copy(source: str, target: str) -> None:
    """Copy a file; what is never written in place needs no copy of its own."""
    if "/objects/" in source:
        os.link(source, target)
    else:
        shutil.copyfile(source, target)


@pytest.mark.parametrize(("which", "kind", "damage"), CELLS)
def test_damage(sounds, tmp_path, which, kind, damage):
    pristine = sounds[which]
    sound = Sound(
        tmp_path / ".ros",
        pristine.contents,
        pristine.history,
        pristine.refs,
        pristine.older,
        pristine.files,
    )
    shutil.copytree(pristine.path, sound.path, copy_function=copy)
    victim = sound.path / sound.files[kind]
    damage(victim, sound)
    spoilt = victim.read_bytes() if victim.is_file() else None
    try:
        store = Store.open(sound.path, who="bob@desk")
    except StoreError as error:
        assert kind == "format"
        assert is_one_line(error)
        assert not (sound.path / "damaged").exists()
        restore(pristine, sound, kind)
        assert Store.open(sound.path).check().ok
        return

    before = readable(store, sound)
    refs = answered_refs(store, sound)
    with contextlib.suppress(StoreError):
        list(store.runs())
    quick = Store.open(sound.path).check(is_quick=True)
    store.close()
    report = Store.open(sound.path).check()

    if report.ok:
        assert before == set(sound.contents)
        assert refs == sound.refs
        assert readable(store, sound) == before
    else:
        assert kind not in DERIVED
        names_it(report, sound, kind, set(sound.contents) - before)
    assert quick.ok or not report.ok
    store.close()
    store = Store.open(sound.path, who="bob@desk")
    try:
        repaired = store.repair()
    except BadSetting:
        assert kind == "config.toml"
        assert readable(store, sound) == before
        return
    assert readable(store, sound) >= before
    assert spoilt is None or kind in DERIVED or is_kept(sound.path, victim, spoilt)
    after = store.check()
    if kind in DERIVED or (kind in OBJECTS and which == "twin"):
        assert after.ok
        assert readable(store, sound) == set(sound.contents)
        assert answered_refs(store, sound) == sound.refs
    if kind in OBJECTS:
        assert after.damaged == () or which == "single"
        heal(store, sound)
    again = Store.open(sound.path).repair()
    assert not again.is_anything, (repaired, again)
    store.close()


def heal(store: Store, sound: Sound) -> None:
    """Put once more what was lost; then all is as it was."""
    lost = set(sound.contents) - readable(store, sound)
    with store.transaction("once more") as tx:
        for link, content in sound.contents.items():
            if link in lost:
                assert put(tx, link, content) == link

    assert store.check().ok
    assert readable(store, sound) == set(sound.contents)
    assert answered_refs(store, sound) == sound.refs


def put(tx, link: Link, content: bytes) -> Link:
    if link.kind is Kind.BLOB:
        return tx.put_blob(content)
    record = decode_record(content)
    return tx.put_record(record.schema, record.fields, record.links)


def readable(store: Store, sound: Sound) -> set[Link]:
    """Read every object in every way; what is answered is the truth or an error of the store."""
    found = set()
    for link, content in sound.contents.items():
        try:
            if link.kind is Kind.BLOB:
                assert store.get_blob(link) == content
            else:
                record = store.get_record(link)
                assert encode_record(record) == content
        except StoreError as error:
            assert is_one_line(error)
        else:
            found.add(link)
        with contextlib.suppress(StoreError):
            assert store.typed(ObjectId(link.digest)).kind in Kind
        if link.kind is Kind.BLOB:
            read_ranges(store, link, content)
    return found


def read_ranges(store: Store, link: Link, content: bytes) -> None:
    for start in (0, len(content) // 2, len(content) - 1):
        with contextlib.suppress(StoreError), store.open_blob(link) as handle:
            handle.seek(start)
            assert handle.read(100) == content[start : start + 100]


def answered_refs(store: Store, sound: Sound) -> dict[str, Link]:
    """Ask for every ref; what is answered was once true of it."""
    found: dict[str, Link] = {}
    try:
        listed = dict(store.refs())
    except StoreError as error:
        assert is_one_line(error)
        listed = {}
    for name, link in listed.items():
        assert link in sound.history[name]
    for name in sound.history:
        try:
            link = store.ref(name)
        except StoreError as error:
            assert is_one_line(error)
        else:
            assert link is None or link in sound.history[name]
            if link is not None:
                found[name] = link
    return found


def names_it(report, sound: Sound, kind: str, lost: set[Link]) -> None:
    """Check that a report which is not good says what is wrong, and what that touches."""
    named = {fault.object_id: fault for fault in (*report.damaged, *report.missing)}
    for link in lost - named.keys():
        # What only a lost record led to is known to nobody.
        linking = {each for each in sound.contents if link in links_of(each, sound)}
        assert linking <= lost
        assert link not in sound.refs.values()
    if kind == "journal":
        assert report.journal.error
        assert is_one_line_text(report.journal.error)
    elif kind == "config.toml":
        assert [fault.name for fault in report.files] == ["config.toml"]
    else:
        assert named or report.files
    for fault in (*named.values(), *report.files):
        assert fault.reason
        assert is_one_line_text(fault.reason)
    if kind in OBJECTS:
        for link in lost & named.keys():
            assert touching(link, sound, through=set(sound.contents) - lost) <= {
                *named[link].touches
            }
            assert {*named[link].touches} <= touching(link, sound, through=set(sound.contents))


def links_of(link: Link, sound: Sound) -> list[Link]:
    if link.kind is Kind.BLOB:
        return []
    return list(decode_record(sound.contents[link]).links.values())


def touching(link: Link, sound: Sound, through: set[Link]) -> set[str]:
    """Return the refs from which an object is reached through sound records."""

    def reaches(start: Link) -> bool:
        return start == link or (start in through and any(map(reaches, links_of(start, sound))))

    return {name for name, start in sound.refs.items() if reaches(start)}


def is_kept(folder: Path, victim: Path, spoilt: bytes) -> bool:
    """Tell whether a damaged file is where it was, or set aside."""
    places = [victim, *(folder / "damaged").glob("*")]
    if any(path.is_file() and path.read_bytes() == spoilt for path in places):
        return True
    # A torn tail was never committed; what stands before it is.
    return victim.name == "journal" and spoilt.startswith(victim.read_bytes())


def restore(pristine: Sound, sound: Sound, kind: str) -> None:
    path = sound.path / sound.files[kind]
    if path.is_dir():
        shutil.rmtree(path)
    shutil.copyfile(pristine.path / sound.files[kind], path)
    raw = sound.files["loose-raw"]
    (sound.path / raw).unlink()
    shutil.copyfile(pristine.path / raw, sound.path / raw)


def is_one_line(error: StoreError) -> bool:
    return is_one_line_text(str(error))


def is_one_line_text(text: str) -> bool:
    return bool(text) and "\n" not in text and len(text) < 1000
