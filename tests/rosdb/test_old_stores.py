"""Old stores: each archive in ``tests/stores`` is opened, and holds what it held when it was made.

``tests/stores/make.py`` says what was put, and with which code. All hold the same objects, refs and
moves: a layout is below the id. So the literals here stand for every version, and never change.
"""

import hashlib
import importlib.util
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from rosdb import Kind, Link, ObjectId, Store, errors

TESTS = Path(__file__).parents[1]
STORES = sorted((TESTS / "stores").glob("store-*.tar.gz"))
START_NS = 1_700_000_000_000_000_000

FIRST = "8f2cd072464ec8a05ea137b4b1fe2c2b929a3d4d7c1261f39672a39ec7c14905"
SECOND = "a516c0af88a9d12985529bf66e244d3b9d2fb5473422f5a5f4cf1211e0d0e068"
THIRD = "bc61d60a96a0eac311afdea543fae66053e664328ed79d83957c7de20cb19991"
SNAPSHOT = "55d0b1db4a638539ee8f35c1ca37d340399b62e5fd9c95ab1b424eacefdca8c7"
FILES = "4f69e6ebe2ec77c4164dd0b9cf6f66a47b846dd92015bf5fd599b5eb24e2ab40"
NOTE = "6db5c5a541961cabb393810b4f8735f055ff29f7e7de53a3f2ae532b8b798542"
REFS = {
    "datasets/demo/1": SNAPSHOT,
    "names/best": THIRD,
    "names/first": FIRST,
    "names/note": NOTE,
    f"runs/{FIRST}": "bccd45b2a996056631a570ca84476058cd5c0b40ada5fd17ccf93bfaaf2f5390",
    f"runs/{SECOND}": "21e34f5296053487be220753a53a23f682a1cad5241b3d9d088e11f24b8b08c2",
    f"runs/{THIRD}": "1b6007f71cc9106c2c5a9726f91700fa4ff2a548407e5ac2018f8aa6ca77ddec",
}
RUNNING = [
    "349a5c665ffd35a1d36ba9d70c1b1b756c90733bbd5b7f4cc3ebab9460cd294f",
    "11346452fc7f0c07bc5810f4dfe32fb7c8a8694e322ffec2f40a7f7c2b0513fd",
    "413032891cd3c7d46f029300937681886f61dc13c7d1321eecb8a4aa3fd0454d",
]
BLOBS = {
    "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99": b"hello\n",
    "0bf600cbc1a19efaef794a08c10de7262fb15890a2df189539b958f7cfd323fa": b"by itself",
    "ac59672a0ca501cf7c66336b384edc70ac7dfd855a0002a6fc101afec7eb9947": (
        b"the same line, again and again\n" * 40
    ),
    "8fa87fee67798fab5b005e51ecf3540d74492ef0be9aca342a1d75920a327a6c": b"".join(
        b"%d,%d.%02d\n" % (n, 4010 + n % 97, n * 7 % 100) for n in range(32_000)
    ),
    "796ba466f5a09c33e53326016906c2b8510e1a38b63ccce482f42f5da46a3874": bytes(range(256)) * 4500,
    "9e3c8e63152597f489e4f050113280829b7e3321f699f3b3ea3e7810f4c655cf": b"run 1\n",
    "b5fbb7c4af6479cf06f9480ac9c357e46b8d4d6283799c05cbab80e23627dced": b"tiny 1",
}
BLOB_COUNT = 43
RECORDS = {
    "11346452fc7f0c07bc5810f4dfe32fb7c8a8694e322ffec2f40a7f7c2b0513fd": "status/v1",
    "1b6007f71cc9106c2c5a9726f91700fa4ff2a548407e5ac2018f8aa6ca77ddec": "status/v1",
    "20b121565092c569b258218be21ca6f53e9fff11421ca3d5dddee7b7bbef03d4": "recipe/v1",
    "21e34f5296053487be220753a53a23f682a1cad5241b3d9d088e11f24b8b08c2": "status/v1",
    "27393365b3540a45e23b1fbace04faa53cf92faadb246c6512041c07221826ec": "recipe/v1",
    "349a5c665ffd35a1d36ba9d70c1b1b756c90733bbd5b7f4cc3ebab9460cd294f": "status/v1",
    "413032891cd3c7d46f029300937681886f61dc13c7d1321eecb8a4aa3fd0454d": "status/v1",
    "4f69e6ebe2ec77c4164dd0b9cf6f66a47b846dd92015bf5fd599b5eb24e2ab40": "tree/v1",
    "55d0b1db4a638539ee8f35c1ca37d340399b62e5fd9c95ab1b424eacefdca8c7": "snapshot/v1",
    "6db5c5a541961cabb393810b4f8735f055ff29f7e7de53a3f2ae532b8b798542": "note/v1",
    "7e1c96e5c3f687d0b52d8b04e8d5ac6e1c262ac0bae10ceae5a4374bca612aa5": "tree/v1",
    "8ceacd990b1da6c14587eab29c0ade0ac798e7e558789d456d58cc79914188f0": "outcome/v1",
    "8f2cd072464ec8a05ea137b4b1fe2c2b929a3d4d7c1261f39672a39ec7c14905": "run/v1",
    "8fb789e47d7cb0ca5297c2e1cbd6d0a02b473fe6aa83b93f73003665902c9cee": "recipe/v1",
    "90459bfa821119755cd1573b69edfea1104db65efce709ddd9dea44297b2d2af": "table/v1",
    "a436cc5b31906eeed06b7f069314d925d5368f2f1385f1938442bfe0dcbe8cef": "outcome/v1",
    "a516c0af88a9d12985529bf66e244d3b9d2fb5473422f5a5f4cf1211e0d0e068": "run/v1",
    "b33c3655ddda100dbb10d6c50bca06ac316b507052645f57861f6b8c628b2164": "table/v1",
    "bc61d60a96a0eac311afdea543fae66053e664328ed79d83957c7de20cb19991": "run/v1",
    "bccd45b2a996056631a570ca84476058cd5c0b40ada5fd17ccf93bfaaf2f5390": "status/v1",
}
EVERY_ID_SHA256 = "215e2f6dba87cf0e8352ed1603e7e689f09848c3f5e09417c9e93516dfa7d4b5"
"""Of the ids of all blobs and records but chunks, sorted, a line each."""

HEAD = "b47397c35e839c4379bbda10e1a6720cd695c6203bc0a16aebd7012f5debd300"
"""Hash of the journal's last entry: it stands for all entries."""

MOVES = [
    (0, "data add demo", "datasets/demo/1", SNAPSHOT),
    (0, "data add demo", "datasets/demo/0", FILES),
    (1, "data remove demo 0", "datasets/demo/0", None),
    (2, "run 1", f"runs/{FIRST}", FIRST),
    (2, "run 1", "names/first", FIRST),
    (3, "running", f"runs/{FIRST}", RUNNING[0]),
    (4, "completed", f"runs/{FIRST}", REFS[f"runs/{FIRST}"]),
    (5, "run 2", f"runs/{SECOND}", SECOND),
    (5, "run 2", "names/best", SECOND),
    (6, "running", f"runs/{SECOND}", RUNNING[1]),
    (7, "failed", f"runs/{SECOND}", REFS[f"runs/{SECOND}"]),
    (8, "run 3", f"runs/{THIRD}", THIRD),
    (8, "run 3", "names/best", THIRD),
    (9, "running", f"runs/{THIRD}", RUNNING[2]),
    (10, "completed", f"runs/{THIRD}", REFS[f"runs/{THIRD}"]),
    (11, "last", "names/note", NOTE),
]
"""Microseconds since the first, why, which ref, where to."""


def _load() -> Any:
    spec = importlib.util.spec_from_file_location("foreign_reader", TESTS / "foreign_reader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


stranger = _load()


@pytest.fixture(params=STORES, ids=lambda archive: archive.name.partition(".")[0])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give the folder of an old store, one after the other."""
    return unpacked(request.param, tmp_path)


@pytest.fixture
def store_1(tmp_path: Path) -> Path:
    return unpacked(TESTS / "stores" / "store-1.tar.gz", tmp_path)


def unpacked(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="tar")  # keeps what is read-only
    return folder / ".ros"


def ids_of(read: Any) -> set[bytes]:
    """Return the ids of all that the stranger has read, without the parts of long blobs."""
    parts = {
        rows[at : at + 32]
        for kind in (stranger.CHUNK_LIST, stranger.INNER_LIST)
        for rows in read.found[kind].values()
        for at in range(1, len(rows), 40)
    }
    return {*read.blobs, *read.records} - parts


def blob(digits: str) -> Link:
    return Link(bytes.fromhex(digits), Kind.BLOB)


def record(digits: str) -> Link:
    return Link(bytes.fromhex(digits), Kind.RECORD)


def holds_everything(store: Store) -> None:
    """Hold what rosdb reads, and what the stranger reads, against the literals."""
    read = stranger.Store(store.path)
    blobs = {digits: store.get_blob(ObjectId.from_hex(digits)) for digits in BLOBS}
    rows = [(str(row.run_id), row.name, row.status, row.experiment) for row in store.runs()]
    moves = [
        ((move.at_ns - START_NS) // 1000, move.why, move.ref, move.new and str(move.new))
        for move in store.journal()
    ]

    assert hashlib.sha256(lines(ids_of(read))).hexdigest() == EVERY_ID_SHA256
    assert {digest.hex(): read.records[digest][0] for digest in read.records} == RECORDS
    assert blobs == BLOBS
    assert {digits: read.blobs[bytes.fromhex(digits)] for digits in BLOBS} == BLOBS
    for digest in ids_of(read):
        found = store.typed(ObjectId(digest))
        if found.kind is Kind.BLOB:
            assert store.get_blob(found) == read.blobs[digest]
        else:
            assert store.get_record(found).schema == RECORDS[digest.hex()]
    assert {name: str(link) for name, link in store.refs()} == REFS
    assert {name: link.data.hex() for name, link in read.refs.items()} == REFS
    assert moves == MOVES
    assert {move.who for move in store.journal()} == {"ana@desk"}
    assert list(store.journal())[-1].hash == HEAD
    assert [len(entry["moves"]) for entry in read.entries] == [2, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1]
    assert rows == [
        (THIRD, "best", "completed", "sma_crossover"),
        (SECOND, None, "failed", "sma_crossover"),
        (FIRST, "first", "completed", "sma_crossover"),
    ]
    assert store.check().ok


def lines(ids: set[bytes]) -> bytes:
    return "\n".join(sorted(digest.hex() for digest in ids)).encode()


# --- Every old store ------------------------------------------------------------------------------


def test_there_is_a_store_of_each_version():
    assert [archive.name for archive in STORES] == ["store-1.tar.gz", "store-2.tar.gz"]
    assert all(archive.stat().st_size < 200_000 for archive in STORES)


def test_an_old_store_holds_what_it_held(old):
    store = Store.open(old)
    version = (old / "format").read_bytes()

    holds_everything(store)
    store.close()
    assert (old / "format").read_bytes() == version  # a reader changes nothing but caches


def test_the_caches_of_an_old_store_can_go(old):
    for cache in [old / "index.db", *old.glob("objects/pack/*.idx")]:
        cache.unlink()
    store = Store.open(old)

    holds_everything(store)
    store.close()


def test_its_records_trees_and_tables_say_what_they_said(old):
    store = Store.open(old)
    tree = store.get_tree(record(FILES))
    snapshot = store.get_record(record(SNAPSHOT))
    bars, notes = store.get_table(snapshot.links["bars"]), store.get_table(tree["notes"].link)
    note = store.get_record(record(NOTE))
    failed = store.get_record(record(REFS[f"runs/{SECOND}"]))
    run = store.get_record(failed.links["run"])
    store.close()

    assert {name: (e.kind, e.size, e.mode) for name, e in tree.items()} == {
        "bin": ("tree", 6, 0),
        "long.bin": ("file", 1_152_000, 0o644),
        "notes": ("table", 87, 0),
        "ticks.csv": ("file", 436_890, 0o644),
    }
    assert str(tree["long.bin"].link) in BLOBS
    assert snapshot.fields["source"] == "é"
    assert snapshot.links["files"] == record(FILES)
    assert bars["volume"].tolist() == [3 * row for row in range(1000)]
    assert bars["price"].tolist() == [row / 8 if row % 10 else None for row in range(1000)]
    assert notes["close"].tolist()[:2] == [1.5, None]
    assert notes["note"].tolist() == ["é", "", "up"]
    assert notes["at"].astype(int).tolist() == [0, 1, 2]
    assert notes.units["close"] == "USD"
    assert note.fields == {"values": [None, -1, 2**64 - 1, 0.25, True, b"\0"]}
    assert failed.fields["error"] == {
        "kind": "ValueError", "message": "no bars", "where": "sma.py:7",
    }  # fmt: skip
    assert run.fields["created_at_ns"] == START_NS + 2
    assert store.get_record(run.links["recipe"]).fields["parameters"]["fast"] == 2


def test_an_old_store_is_written_to_and_collected(old):
    store = Store.open(old)
    with store.transaction("new") as tx:
        new = tx.put_blob(b"new" * 100_000)
        tx.move_ref("names/new", new, expected=None)
    again = {digits: str(store.put_blob(content)) for digits, content in BLOBS.items()}
    before = ids_of(stranger.Store(old))
    store.plan_collection().execute()

    assert again == {digits: digits for digits in BLOBS}
    read = stranger.Store(old)
    # A status that another has followed is reached by no ref, and older than the grace.
    reached = RECORDS.keys() - set(RUNNING)
    assert reached <= {digest.hex() for digest in read.records} <= RECORDS.keys()
    assert BLOBS.keys() <= {digest.hex() for digest in ids_of(read)}
    assert ids_of(read) <= before
    assert {name: str(link) for name, link in store.refs()} == REFS | {"names/new": str(new)}
    assert {digits: store.get_blob(blob(digits)) for digits in BLOBS} == BLOBS
    assert {digits: store.get_record(record(digits)).schema for digits in reached} == {
        digits: RECORDS[digits] for digits in reached
    }
    assert store.check().ok
    store.close()


# --- Version 1 becomes version 2 ------------------------------------------------------------------


def test_a_store_of_version_1_becomes_version_2_when_it_is_written_to(store_1):
    assert (store_1 / "format").read_bytes() == b"research-os store 1\n"
    loose = {path: path.read_bytes() for path in store_1.glob("objects/??/*")}
    store = Store.open(store_1)
    store.put_blob(BLOBS[max(BLOBS)])

    holds_everything(store)
    store.close()
    assert (store_1 / "format").read_bytes() == b"research-os store 2\n"
    assert {path: path.read_bytes() for path in store_1.glob("objects/??/*")} == loose
    assert len(loose) == BLOB_COUNT + len(RECORDS)


def test_its_long_blob_is_one_raw_file_and_read_in_ranges(store_1):
    content = next(content for content in BLOBS.values() if len(content) > 1024 * 1024)
    digits = next(digits for digits, each in BLOBS.items() if each == content)
    data = (store_1 / "objects" / digits[:2] / digits[2:]).read_bytes()
    store = Store.open(store_1)
    with store.open_blob(blob(digits)) as handle:
        handle.seek(700_000)
        part = handle.read(1000)
    store.close()

    assert data[16:] == content
    assert part == content[700_000:701_000]


@pytest.mark.parametrize(
    "version", [b"research-os store 3\n", b"research-os store 2", b"research-os store 22\n", b""]
)
def test_a_store_of_an_unknown_version_is_refused_untouched(old, version):
    (old / "format").write_bytes(version)
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}

    with pytest.raises(errors.UnsupportedFormat):
        Store.open(old)
    with pytest.raises(AssertionError):
        stranger.Store(old)
    assert {path: path.read_bytes() for path in old.rglob("*") if path.is_file()} == before


# --- The archives ---------------------------------------------------------------------------------


def test_what_made_the_archives_still_puts_the_same(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("make", TESTS / "stores" / "make.py")
    assert spec is not None
    assert spec.loader is not None
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    monkeypatch.setattr("rosdb.merge.MERGED_BELOW_BYTES", 0)  # it sets this, and is to be undone
    make.main(tmp_path / "new.tar.gz")
    store = Store.open(unpacked(tmp_path / "new.tar.gz", tmp_path))

    holds_everything(store)
    store.close()
    shutil.rmtree(store.path)
