"""Ids, pinned: they can never change once people have stores."""

import copy
import doctest
import importlib
import multiprocessing
import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

import rosdb
from rosdb.canonical import encode
from rosdb.errors import BadName, NotCanonical
from rosdb.objects import (
    Kind,
    Link,
    ObjectId,
    Record,
    decode_record,
    encode_record,
    hasher,
    id_of,
)
from rosdb.tables import Column, table_record
from rosdb.trees import Entry, tree_record

HELLO = "8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"
TREE = "cbeb839a3ffb31497bb72936b2cd221a1281ffcc3f698bf4960f273470cd0057"
TABLE = "31f0bad8ff627bda375ccb9fd900b0e52438b8b224ec558e51d316c0ffacb8c6"


def record_id(record: Record) -> str:
    return str(id_of(Kind.RECORD, encode_record(record)))


@pytest.mark.parametrize(
    ("content", "object_id"),
    [
        # The first two are BLAKE3's own test vectors: a blob's id is what any b3sum prints.
        (b"", "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
        (b"\x00", "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
        (b"hello\n", HELLO),
    ],
)
def test_the_id_of_a_blob_is_pinned(content, object_id):
    assert str(id_of(Kind.BLOB, content)) == object_id


def test_the_id_of_a_record_is_pinned():
    hello = Link(bytes.fromhex(HELLO), Kind.BLOB)
    tree = tree_record({"hello.txt": Entry(kind="file", link=hello, size=6, mode=0o644)})
    price = Column(name="price", dtype="float64", unit="USD", data=np.array([1.0, 2.0]).tobytes())
    table, _ = table_record(2, [price])

    assert record_id(tree) == TREE
    assert record_id(table) == TABLE
    assert record_id(Record("empty/v1", {})) == (
        "46d057b3616bc298b22fff3743aa54e05a99ea88b5ee659c4f7bd11246ab46f6"
    )


@pytest.mark.skipif(shutil.which("b3sum") is None, reason="b3sum is not installed")
def test_b3sum_prints_the_same(tmp_path):
    for size in (0, 1, 1024, 1025, 5_000_000):
        path = tmp_path / f"{size}"
        path.write_bytes(bytes(i % 251 for i in range(size)))
        printed = subprocess.run(
            ["b3sum", "--no-names", path], capture_output=True, text=True, check=True
        ).stdout

        assert printed.strip() == str(id_of(Kind.BLOB, path.read_bytes()))


def test_no_blob_passes_for_a_record():
    content = encode_record(Record("tree/v1", {"entries": {}}))

    assert id_of(Kind.BLOB, content) != id_of(Kind.RECORD, content)
    assert str(id_of(Kind.BLOB, content)) == blake3(content).hexdigest()


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("size", [0, 1, 1_048_575, 1_048_576, 3_000_000])
def test_one_pass_and_many_hash_alike(kind, size):
    content = bytes(size)
    piecewise = hasher(kind)
    for start in range(0, size, 65_537):
        piecewise.update(content[start : start + 65_537])

    whole = id_of(kind, content)

    assert whole.digest == piecewise.digest()
    assert whole.kind is kind


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_hashes_on():
    """A pool of hashing threads would not survive the fork, and the child would wait for ever."""
    content = bytes(8_000_000)
    expected = id_of(Kind.BLOB, content)
    context = multiprocessing.get_context("fork")
    found = context.Queue()

    child = context.Process(target=lambda: found.put(id_of(Kind.BLOB, content)))
    child.start()
    try:
        assert found.get(timeout=20) == expected
    finally:
        child.kill()
        child.join()


def test_every_part_of_a_record_is_in_its_id():
    link = id_of(Kind.BLOB, b"x")
    records = [
        Record("a/v1", {}),
        Record("a/v2", {}),
        Record("b/v1", {}),
        Record("a/v1", {"x": 1}),
        Record("a/v1", {"x": 1.0}),
        Record("a/v1", {"x": True}),
        Record("a/v1", {"y": 1}),
        Record("a/v1", {}, {"x": link}),
        Record("a/v1", {}, {"y": link}),
        Record("a/v1", {}, {"x": Link(link.digest, Kind.RECORD)}),
        Record("a/v1", {}, {"x": id_of(Kind.BLOB, b"y")}),
    ]

    assert len({record_id(record) for record in records}) == len(records)


def test_a_record_comes_back_as_it_was():
    link = id_of(Kind.BLOB, b"x")
    record = Record("recipe/v1", {"seed": 42, "path": {"a": [1.5, None]}}, {"code": link})

    back = decode_record(encode_record(record))

    assert back == record
    assert back.links["code"].kind is Kind.BLOB


@pytest.mark.parametrize(
    "schema",
    ["", "tree", "tree/1", "tree/v0", "tree/v01", "Tree/v1", "tree/v1 ", "tree/v1\n", "/v1"],
)
def test_a_malformed_schema_is_refused(schema):
    with pytest.raises(NotCanonical, match="is not NAME/vN"):
        encode_record(Record(schema, {}))
    with pytest.raises(NotCanonical, match="is not NAME/vN"):
        decode_record(encode([schema, {}, {}]))


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        ["a/v1", {}],
        ["a/v1", {}, {}, {}],
        ["a/v1", [], {}],
        ["a/v1", {}, []],
        [1, {}, {}],
        ["a/v1", {}, {"x": 1}],
        ["a/v1", {}, {"x": bytes(32)}],
        {"schema": "a/v1"},
    ],
    ids=repr,
)
def test_what_is_no_record_is_refused(value):
    with pytest.raises(NotCanonical):
        decode_record(encode(value))


@pytest.mark.parametrize("where", [lambda x: x, lambda x: [x], lambda x: {"a": [{"b": x}]}])
def test_a_link_among_the_fields_is_refused(where):
    hidden = rosdb.objects.link_value(id_of(Kind.BLOB, b"x"))

    with pytest.raises(NotCanonical, match="a link stands among the fields"):
        encode_record(Record("a/v1", {"x": where(hidden)}))
    with pytest.raises(NotCanonical, match="a link stands among the fields"):
        decode_record(encode(["a/v1", {"x": where(hidden)}, {}]))


def test_ids_are_written_and_read_in_one_way():
    object_id = ObjectId.from_hex(HELLO)

    assert str(object_id) == HELLO
    assert object_id.digest.hex() == HELLO
    assert repr(object_id) == "ObjectId(8e4c7c1b99db…)"
    for text in (HELLO.upper(), HELLO[:-1], HELLO + "0", " " + HELLO[1:], HELLO + "\n", "é" * 64):
        with pytest.raises(BadName):
            ObjectId.from_hex(text)


def test_a_link_is_the_id_that_it_holds():
    link = id_of(Kind.RECORD, b"x")
    object_id = ObjectId(link.digest)

    assert link == object_id
    assert hash(link) == hash(object_id)
    assert {link: 1}[object_id] == 1
    assert link != id_of(Kind.RECORD, b"y")
    assert link != str(link)
    assert sorted([ObjectId(bytes([2]) * 32), ObjectId(bytes([1]) * 32)])[0].digest[0] == 1


@pytest.mark.parametrize("value", [id_of(Kind.BLOB, b"x"), ObjectId(bytes(32))], ids=repr)
@pytest.mark.parametrize("again", [copy.copy, lambda x: pickle.loads(pickle.dumps(x))])
def test_ids_can_be_copied_and_pickled(value, again):
    back = again(value)

    assert type(back) is type(value)
    assert back == value
    assert getattr(back, "kind", None) is getattr(value, "kind", None)


@pytest.mark.parametrize(
    "path", sorted(Path(rosdb.__file__).parent.glob("*.py")), ids=lambda p: p.stem
)
def test_the_examples_in_the_docstrings_are_true(path):
    name = "rosdb" if path.stem == "__init__" else f"rosdb.{path.stem}"

    result = doctest.testmod(importlib.import_module(name))

    assert result.failed == 0
    assert (result.attempted > 0) == (">>>" in path.read_text(encoding="utf-8"))
