"""The stranger: a reader made from ``docs/format.md`` alone reads what rosdb has written.

It is ``tests/foreign_reader.py``. Whatever is in a store, it must find the same as the store's own
code, object by object, ref by ref, move by move; and no changed byte may pass it.
"""

import ast
import importlib.util
import itertools
import random
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rosdb import Entry, Kind, Link, Store, chunks, collect, errors, journal, merge
from rosdb.journal import Journal
from rosdb.objects import link_value
from rosdb.pack_file import Entry as PackEntry

READER = Path(__file__).parents[1] / "foreign_reader.py"
LINES_MAX = 150
REFUSALS = (AssertionError, LookupError, ValueError, struct.error, zstandard.ZstdError)
CHANCE = random.Random(20_261_122)
LONG = CHANCE.randbytes(6_000_000)
EVEN = b"the same line again and again\n" * 100_000


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("foreign_reader", READER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stranger = _load()


# --- What is held against each other --------------------------------------------------------------


def value(link: Link | None) -> Any:
    return None if link is None else link_value(link)


def moves_of(store: Store) -> list[tuple[Any, ...]]:
    return [(m.at_ns, m.ref, value(m.old), value(m.new), m.who, m.why) for m in store.journal()]


def moves_read(read: Any) -> list[tuple[Any, ...]]:
    return [
        (entry["at_ns"], *move, entry["who"], entry["why"])
        for entry in read.entries
        for move in entry["moves"]
    ]


def contents_of(store: Store) -> tuple[dict[bytes, bytes], dict[bytes, list[Any]]]:
    """Return every blob (chunks too) and every record, as rosdb reads them."""
    blobs: dict[bytes, bytes] = {}
    records: dict[bytes, list[Any]] = {}
    for object_id in store._objects.listing():
        try:
            entry = store._objects.entry(object_id)
        except errors.ObjectMissing:
            continue  # an index of several packs lists what was in one that is gone
        if entry is PackEntry.RECORD:
            record = store.get_record(object_id)
            links = {name: value(link) for name, link in record.links.items()}
            records[object_id.digest] = [record.schema, dict(record.fields), links]
        elif entry is not PackEntry.INNER:
            blobs[object_id.digest] = store.get_blob(object_id)
    return blobs, records


def tables_of(store: Store, read: Any) -> int:
    """Hold each table's columns against the stranger's; return how many tables there are."""
    count = 0
    for digest, (schema, _, _) in read.records.items():
        if schema == "table/v1":
            table = store.get_table(Link(digest, Kind.RECORD))
            # By their texts: NaN is not equal to itself, and True would be equal to 1.
            ours = repr({name: table[name].tolist() for name in table})

            assert repr(read.table(digest)) == ours
            count += 1
    return count


def agree(store: Store) -> Any:
    """Read a store with both readers, and compare all that there is."""
    blobs, records = contents_of(store)
    read = stranger.Store(store.path)

    assert read.blobs == blobs
    assert read.records == records
    assert read.refs == {name: value(store.ref(name)) for name, _ in store.refs()}
    assert moves_read(read) == moves_of(store)
    hashes = list(dict.fromkeys(move.hash for move in store.journal()))
    assert [entry["prev"].hex() for entry in read.entries[1:]] == hashes[:-1]
    tables_of(store, read)
    return read


# --- Stores with something of everything ----------------------------------------------------------


def fill(store: Store, files: dict[str, bytes]) -> dict[str, Link]:
    """Put blobs, a record, tables, trees, and refs that are moved and removed."""
    made: dict[str, Link] = {}
    with store.transaction("files") as tx:
        for name, content in files.items():
            made[name] = tx.put_blob(content)
        inner = tx.put_tree({"é": Entry(kind="file", link=made["small"], size=5, mode=0o755)})
        made["table"] = tx.put_table(
            {
                "at": np.array([0, -1, 2**62], "datetime64[ns]"),
                "close": np.ma.array([1.5, 7.0, np.nan], mask=[False, True, False]),
                "note": np.ma.array(["é", "gone", ""], mask=[False, True, False]),
                "is_open": np.array([True, False, True]),
            },
            {"close": "USD"},
        )
        count = 5000
        made["long table"] = tx.put_table(
            {
                dtype: np.arange(count).astype(dtype)
                for dtype in "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32".split()
            }
            | {
                "masked": np.ma.array(np.arange(count), mask=np.arange(count) % 7 == 0),
                "text": np.array(["é" * (row % 5) for row in range(count)]),
            }
        )
        made["empty table"] = tx.put_table({"none": np.array([]), "word": np.array([], str)})
        made["tree"] = tx.put_tree(
            {
                "below": Entry(kind="tree", link=inner, size=5),
                "prices": Entry(kind="table", link=made["table"], size=9),
                "small": Entry(kind="file", link=made["small"], size=5, mode=0o644),
            }
        )
        fields = {"z": [None, -1, 2**64 - 1, 0.5, {"é": b"\0", "": True}], "a": float("inf")}
        links = {"tree": made["tree"], "small": made["small"]}
        made["record"] = tx.put_record("note/v1", fields, links)
        tx.move_ref("names/note", made["record"], expected=None)
        tx.move_ref("names/gone", made["tree"], expected=None)
    with store.transaction("later") as tx:
        tx.move_ref("names/note", made["table"], expected=made["record"])
        tx.move_ref("names/gone", None, expected=made["tree"])
    return made


@pytest.fixture
def filled(store: Store) -> dict[str, Link]:
    return fill(store, {"small": b"small", "none": b"", "even": b"ab" * 400})


def shrink_merges(patch: pytest.MonkeyPatch) -> None:
    """Let packs stay as they are from a few kilobytes on, so that indexes are merged."""
    patch.setattr(merge, "MERGED_BELOW_BYTES", 3000)
    patch.setattr(collect, "_SMALL_BYTES", 3000)


def put_many(store: Store, count: int, size: int) -> list[Link]:
    """Commit as many transactions, each with a pack of its own."""
    made = []
    for number in range(count):
        with store.transaction(f"number {number}") as tx:
            made.append(tx.put_blob(CHANCE.randbytes(size)))
            name = f"names/{size}-{number}"
            tx.move_ref(name, made[-1], expected=None)
    return made


def packs_of(store: Store, pattern: str) -> list[Path]:
    return sorted((store.path / "objects" / "pack").glob(pattern))


def forget_indexes(store: Store) -> None:
    store.close()
    for path in packs_of(store, "*.idx"):
        path.unlink()


# --- The reader itself ----------------------------------------------------------------------------


def test_the_stranger_is_short_and_knows_nothing_of_rosdb():
    source = READER.read_text(encoding="utf-8")
    imported: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])

    assert len(source.splitlines()) <= LINES_MAX
    assert imported - set(sys.stdlib_module_names) == {"blake3", "msgpack", "zstandard"}


def test_the_stranger_prints_the_refs_and_writes_a_blob(store, filled):
    def run(*arguments: str) -> bytes:
        command = [sys.executable, str(READER), str(store.path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout

    lines = run().decode().splitlines()

    assert lines[0] == f"{filled['table']} names/note"
    blobs, records = contents_of(store)
    assert lines[1:] == [f"{len(blobs)} blobs, {len(records)} records"]
    assert run(str(filled["even"])) == b"ab" * 400


# --- The same as rosdb ----------------------------------------------------------------------------


def test_an_empty_store_is_read(store):
    read = agree(store)

    assert (read.blobs, read.records, read.refs, read.entries) == ({}, {}, {}, [])


def test_every_kind_of_object_is_read(store, filled):
    store.put_blob(b"loose and raw")
    store.put_blob(b"loose and compressed\n" * 40)
    store.put_record("note/v1", {"loose": True})

    read = agree(store)

    assert len(list((store.path / "objects").glob("??/*"))) == 3
    assert read.table(filled["table"].digest) == {
        "at": [0, -1, 2**62],
        "close": [1.5, None, pytest.approx(np.nan, nan_ok=True)],
        "note": ["é", None, ""],
        "is_open": [True, False, True],
    }
    small = link_value(filled["small"])
    assert read.tree(filled["tree"].digest) == {
        "below": {"é": small},
        "prices": link_value(filled["table"]),
        "small": small,
    }
    assert tables_of(store, read) == 3
    assert read.records[filled["record"].digest][1]["z"] == [
        None, -1, 2**64 - 1, 0.5, {"é": b"\0", "": True},
    ]  # fmt: skip


def test_long_blobs_are_put_together(store, tmp_path):
    changed = LONG[:3_000_000] + b"one more line" + LONG[3_000_000:]
    (tmp_path / "file").write_bytes(changed)
    with store.transaction() as tx:
        put = {tx.put_blob(content).digest: content for content in (LONG, EVEN, LONG[:262_144])}
        put[tx.put_file(tmp_path / "file").digest] = changed

    read = agree(store)

    assert {digest: read.blobs[digest] for digest in put} == put
    heights = {rows[0] for rows in read.found[PackEntry.CHUNKS].values()}
    assert heights == {0, 1}
    assert read.found[PackEntry.INNER]


def test_lists_of_any_height_are_read(store, monkeypatch):
    monkeypatch.setattr(chunks, "_LIST_ROWS_MAX", 2)
    blob = store.put_blob(LONG[:1_000_000])

    read = agree(store)

    assert read.blobs[blob.digest] == LONG[:1_000_000]
    assert read.found[PackEntry.CHUNKS][blob.digest][0] >= 5


def test_runs_and_their_statuses_are_read(store, put_run):
    runs = [put_run(store, name="first"), put_run(store, status="failed")]
    runs.append(put_run(store, status="pending"))

    read = agree(store)

    for run, status in zip(runs, ("completed", "failed", None), strict=True):
        schema, fields, links = read.records[read.refs[f"runs/{run}"].data]
        assert fields.get("status") == status
        assert schema == ("status/v1" if status else "run/v1")
        assert links.get("run", link_value(run)) == link_value(run)
    assert read.refs["names/first"] == link_value(runs[0])


def test_merged_packs_are_read(store):
    made = put_many(store, 40, 200)

    read = agree(store)

    assert len(packs_of(store, "*.pack")) < 16
    assert set(read.blobs) == {link.digest for link in made}


def test_indexes_over_several_packs_are_read(store, monkeypatch):
    shrink_merges(monkeypatch)
    made = put_many(store, 9, 5000) + put_many(store, 8, 20)

    read = agree(store)

    assert packs_of(store, "multi-*.idx")
    assert set(read.blobs) == {link.digest for link in made}


def test_an_index_may_name_a_pack_that_is_gone(store, monkeypatch):
    shrink_merges(monkeypatch)
    made = put_many(store, 9, 5000) + put_many(store, 8, 20)
    covered = {path.name for path in packs_of(store, "multi-*.idx")}
    with store.transaction("drop") as tx:
        tx.move_ref("names/5000-3", None, expected=made[3])
    store.plan_collection(grace_seconds=0).execute()

    read = agree(store)

    assert covered & {path.name for path in packs_of(store, "multi-*.idx")}
    assert made[3].digest not in read.blobs
    assert set(read.blobs) == {link.digest for link in made if link != made[3]}


def test_a_store_without_indexes_is_read(store, filled):
    put_many(store, 3, 5000)
    store.put_blob(LONG[:600_000])
    forget_indexes(store)

    read = stranger.Store(store.path)

    assert not packs_of(store, "*.idx")
    again = agree(store)  # rosdb makes them anew
    assert packs_of(store, "*.idx")
    assert (again.blobs, again.records) == (read.blobs, read.records)


def test_files_with_other_names_are_no_objects(store, filled):
    before = stranger.Store(store.path).found
    for name in ("ab/.left-over", "pack/pack-1.tmp", ".DS_Store"):
        (store.path / "objects" / name).parent.mkdir(exist_ok=True)
        (store.path / "objects" / name).write_bytes(b"?")

    assert agree(store).found == before


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=9)
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)
NAMES = st.sampled_from(["names/a", "names/b", "runs/a"])
STEPS = st.lists(
    st.tuples(
        st.binary(max_size=300) | st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
        st.dictionaries(NAMES, st.booleans(), max_size=2),
    ),
    max_size=6,
)


@given(steps=STEPS)
def test_whatever_is_put_and_moved_is_read(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("store")
    store = Store.init(folder / ".ros")
    try:
        put: list[Link] = []
        for content, moved in steps:
            with store.transaction(str(len(put))) as tx:
                if isinstance(content, bytes):
                    put.append(tx.put_blob(content))
                else:
                    links = {f"link {i}": link for i, link in enumerate(put[-2:])}
                    put.append(tx.put_record("some/v1", content, links))
                for name, is_kept in moved.items():
                    tx.move_ref(name, put[-1] if is_kept else None, expected=store.ref(name))

        agree(store)
    finally:
        store.close()
        shutil.rmtree(folder)


# --- The journal's tail ---------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Path]:
    """Give a journal whose last entry covers several sectors."""
    journal.create(tmp_path / "journal", tmp_path)
    log = Journal(tmp_path / "journal")
    end = journal.Position()
    links = [Link(bytes([n]) * 32, Kind.RECORD) for n in range(1, 16)]
    for count in (1, 3, 15):
        moves = [(f"runs/{link}", None, link) for link in links[:count]]
        end = log.append(end, moves, at_ns=count, who="ana@desk", why="run")
    yield log.path
    log.close()


def verdicts(path: Path, data: bytes) -> tuple[int | None, int | None]:
    """Return how many entries rosdb and the stranger read of a journal; None where one refuses."""
    path.write_bytes(data)
    try:
        ours: int | None = len(list(Journal(path).entries()))
    except errors.JournalDamaged:
        ours = None
    try:
        theirs: int | None = len(stranger.journal_entries(data)[0])
    except REFUSALS:
        theirs = None
    return ours, theirs


def starts_of(data: bytes) -> list[int]:
    starts, at = [], 16
    while at < len(data):
        starts.append(at)
        at += 40 + struct.unpack_from("<I", data, at)[0]
    return starts


def test_a_journal_that_was_cut_is_read_to_its_last_whole_entry(log):
    data = log.read_bytes()
    ends = [16, *starts_of(data)[1:], len(data)]
    near = {end + distance for end in ends for distance in range(-10, 11)}

    for size in sorted(near & set(range(16, len(data))) | set(range(16, len(data), 29))):
        whole = sum(end <= size for end in ends[1:])
        assert verdicts(log, data[:size]) == (whole, whole)
        assert stranger.journal_entries(data[:size])[1] == ends[whole]


def test_lost_sectors_are_torn_in_the_last_entry_and_damage_before_it(log):
    data = log.read_bytes()
    last = starts_of(data)[-1]
    cuts = [last, *range(last // 512 * 512 + 512, len(data), 512), len(data)]
    parts = list(itertools.pairwise(cuts))
    assert len(parts) >= 3
    lost = [chosen for n in (1, 2) for chosen in itertools.combinations(parts, n)]

    for chosen in lost:
        torn = bytearray(data)
        for start, end in chosen:
            torn[start:end] = bytes(end - start)
        is_seen = any(end - start >= 8 for start, end in chosen)
        assert verdicts(log, bytes(torn)) == ((2, 2) if is_seen else (None, None))
    assert verdicts(log, data[:16] + bytes(496) + data[512:]) == (None, None)


def test_whatever_befalls_a_journal_both_readers_say_the_same(log):
    data = log.read_bytes()
    chance = random.Random(1)
    starts = starts_of(data)

    for _ in range(600):
        changed = bytearray(data[: chance.choice([len(data), chance.randrange(16, len(data))])])
        for _ in range(chance.randrange(3)):
            at = chance.choice([*starts, chance.randrange(16, len(data))])
            size = chance.choice([1, 8, 40, 512, 1024])
            start = chance.choice([at, at // 512 * 512])
            part = changed[start : start + size]
            changed[start : start + size] = chance.choice([bytes(len(part)), part[::-1]])
        ours, theirs = verdicts(log, bytes(changed))

        assert ours == theirs


def test_a_store_with_a_torn_tail_is_read(store, filled):
    store.close()
    path = store.path / "journal"
    whole = path.read_bytes()
    before = agree(store).entries
    store.close()
    path.write_bytes(whole + whole[16:90])  # an entry that a crash has cut short

    read = agree(store)

    assert read.entries == before
    assert read.journal_end == len(whole)


# --- No changed byte passes -----------------------------------------------------------------------


def flips_passed(store: Store, path: Path) -> list[int]:
    """Flip a bit of each byte in turn; return the offsets at which the stranger did not notice."""
    passed = []
    data = path.read_bytes()
    path.chmod(0o644)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        try:
            stranger.Store(store.path)
        except REFUSALS:
            continue
        passed.append(at)
    path.write_bytes(data)
    stranger.Store(store.path)
    return passed


@pytest.fixture
def tight(open_store: Callable[[], Store]) -> Store:
    """Give a store that is small and has a file of every kind."""
    store = open_store()
    with store.transaction("put") as tx:
        blob = tx.put_blob(b"raw bytes")
        record = tx.put_record("note/v1", {"text": "compressed " * 30}, {"blob": blob})
        tx.move_ref("names/note", record, expected=None)
    with store.transaction("drop") as tx:
        tx.move_ref("names/note", None, expected=record)
    store.put_blob(b"a loose one")
    store.put_blob(b"a loose one, compressed\n" * 20)
    store.close()
    return store


@pytest.mark.parametrize("pattern", ["objects/pack/*.pack", "objects/pack/*.idx", "objects/??/*"])
def test_every_flipped_byte_of_objects_and_indexes_is_noticed(tight, pattern):
    paths = sorted(path for path in tight.path.glob(pattern) if path.is_file())

    assert len(paths) == (2 if "??" in pattern else 1)
    for path in paths:
        assert flips_passed(tight, path) == []


def test_every_flipped_byte_of_the_journal_and_the_format_is_noticed(tight):
    assert flips_passed(tight, tight.path / "journal") == []
    assert flips_passed(tight, tight.path / "format") == []


def test_every_flipped_byte_of_a_list_of_chunks_is_noticed(store, monkeypatch):
    monkeypatch.setattr(chunks, "_LIST_ROWS_MAX", 4)
    blob = store.put_blob(bytes(270_000) + CHANCE.randbytes(1000))
    store.close()
    (path,) = packs_of(store, "*.pack")
    forget_indexes(store)

    assert stranger.Store(store.path).found[PackEntry.CHUNKS][blob.digest][0] > 0
    assert flips_passed(store, path) == []


@pytest.mark.parametrize("pattern", ["objects/pack/*.pack", "objects/pack/*.idx", "objects/??/*"])
def test_a_file_under_another_name_is_noticed(tight, pattern):
    path = next(path for path in sorted(tight.path.glob(pattern)) if path.is_file())
    first = path.stem[-1]
    path.rename(path.with_stem(path.stem[:-1] + ("0" if first != "0" else "1")))

    with pytest.raises(REFUSALS):
        stranger.Store(tight.path)


@pytest.mark.parametrize("cut", [1, 16, 73])
def test_a_pack_that_was_cut_is_noticed(tight, cut):
    (path,) = packs_of(tight, "*.pack")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-cut])

    with pytest.raises(REFUSALS):
        stranger.Store(tight.path)


@pytest.mark.parametrize(
    "content",
    [
        msgpack.packb(1.5, use_single_float=True),
        b"\xcd\x00\x01",  # a long form of 1
        b"\x82\xa1b\x01\xa1a\x02",  # keys that are not sorted
        b"\x82\xa1a\x01\xa1a\x02",  # a key twice
        b"\xd6\xff\x00\x00\x00\x01",  # a timestamp
        b"\x01\x01",  # two values
        b"\x91",  # a list that is cut off
        b"\xa1\xff",  # no UTF-8
    ],
)
def test_an_encoding_that_is_not_the_one_is_noticed(content):
    with pytest.raises(REFUSALS):
        stranger.decoded(content)
