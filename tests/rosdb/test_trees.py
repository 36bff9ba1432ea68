"""Trees: folders as records, and back to the disk."""

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosdb import Entry, Link, Store, errors, put_files, put_folder, write_blob, write_folder
from rosdb.objects import Kind, Record, decode_record, encode_record, id_of
from rosdb.trees import check_name, read_tree, tree_record

BLOB = id_of(Kind.BLOB, b"x")
RECORD = id_of(Kind.RECORD, b"x")
NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/"), min_size=1, max_size=60
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
ENTRIES = st.one_of(
    st.builds(
        Entry,
        kind=st.just("file"),
        link=st.just(BLOB),
        size=st.integers(0, 2**60),
        mode=st.sampled_from([0o644, 0o755]),
    ),
    st.builds(
        Entry,
        kind=st.sampled_from(["table", "tree"]),
        link=st.just(RECORD),
        size=st.integers(0, 2**60),
    ),
)


@given(st.dictionaries(NAMES, ENTRIES, max_size=8))
def test_a_tree_comes_back_as_it_was(tree):
    record = decode_record(encode_record(tree_record(tree)))

    back = read_tree(record)

    assert back == tree
    assert all(back[name].link.kind is tree[name].link.kind for name in tree)
    assert list(back) == sorted(tree, key=str.encode)


@given(st.dictionaries(NAMES, ENTRIES, max_size=8))
def test_the_order_of_names_is_not_part_of_a_tree(tree):
    backwards = dict(reversed(tree.items()))

    assert encode_record(tree_record(backwards)) == encode_record(tree_record(tree))


@pytest.mark.parametrize(
    "name",
    [
        *["", ".", "..", "/", "a/b", "../a", "a\0", "\n", "a\x1b[2J", "\x7f", "\x85", "\x9b2J"],
        *["\ud800", "x" * 256, "é" * 128],
    ],
    ids=ascii,
)
def test_a_name_that_no_folder_should_hold_is_refused(name):
    entry = Entry(kind="file", link=BLOB, size=1, mode=0o644)

    with pytest.raises(errors.BadName):
        check_name(name)
    with pytest.raises(errors.BadName):
        tree_record({name: entry})
    foreign = Record("tree/v1", {"entries": {name: ["file", 1, 420]}}, {name: BLOB})
    with pytest.raises(errors.BadName):
        read_tree(foreign)


@pytest.mark.parametrize(
    "name", ["a", "é" * 127, "x" * 255, "...", " ", "a b", "-rf", "con", "日本"]
)
def test_a_name_that_is_merely_odd_is_allowed(name):
    check_name(name)


@pytest.mark.parametrize(
    ("entry", "link"),
    [
        (["file", 1, 0o600], BLOB),
        (["file", 1, 0o4755], BLOB),
        (["file", 1, 0], BLOB),
        (["file", -1, 0o644], BLOB),
        (["file", 1, 0o644], RECORD),
        (["file", 1.0, 0o644], BLOB),
        (["file", True, 0o644], BLOB),
        (["file", 1], BLOB),
        (["file", 1, 0o644, 0], BLOB),
        (["link", 1, 0o644], BLOB),
        (["tree", 1, 0], BLOB),
        (["tree", 1, 0o755], RECORD),
        (["table", 1, 0], BLOB),
        ([0, 1, 0o644], BLOB),
        ({"kind": "file"}, BLOB),
        (None, BLOB),
    ],
    ids=repr,
)
def test_an_entry_that_is_none_is_refused(entry, link):
    with pytest.raises(errors.NotCanonical):
        read_tree(Record("tree/v1", {"entries": {"a": entry}}, {"a": link}))


@pytest.mark.parametrize(
    "record",
    [
        Record("tree/v2", {"entries": {}}),
        Record("table/v1", {"entries": {}}),
        Record("tree/v1", {}),
        Record("tree/v1", {"entries": []}),
        Record("tree/v1", {"entries": {"a": ["file", 1, 420]}}),
        Record("tree/v1", {"entries": {}}, {"a": BLOB}),
        Record("tree/v1", {"entries": {"a": ["file", 1, 420]}}, {"b": BLOB}),
    ],
    ids=repr,
)
def test_a_record_that_is_no_tree_is_refused(record):
    with pytest.raises(errors.NotCanonical):
        read_tree(record)


def test_a_tree_that_could_not_be_read_is_not_written(store):
    link = store.put_blob(b"x")

    with pytest.raises(errors.NotCanonical):
        store.put_tree({"a": Entry(kind="tree", link=link, size=1)})
    with pytest.raises(errors.NotCanonical):
        store.put_tree({"a": Entry(kind="file", link=link, size=1, mode=0o600)})


# --- Folders ------------------------------------------------------------------------------------


def fill(folder: Path) -> dict[str, bytes]:
    """Write a folder of every kind of file; return what it holds."""
    files = {
        "empty": b"",
        "hello.txt": b"hello\n",
        "deep/er/x.bin": bytes(range(256)),
        "deep/large": b"abc" * 500_000,
        "deep/same": b"hello\n",
        "run.sh": b"#!/bin/sh\n",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "run.sh").chmod(0o775)
    (folder / "hello.txt").chmod(0o600)
    (folder / "hollow").mkdir()
    return files


def read(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_comes_back_as_it_was(store, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    files = fill(source)

    link = put_folder(store, source)
    written = write_folder(store, link, target)

    assert read(target) == files
    assert sorted(str(path.relative_to(target)) for path in written) == sorted(files)
    assert (target / "hollow").is_dir()
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) & 0o100
    assert not stat.S_IMODE((target / "hello.txt").stat().st_mode) & 0o111
    assert put_folder(store, target) == link


def test_the_size_of_a_tree_is_what_it_holds(store, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    files = fill(source)

    for link in (put_folder(store, source), put_files(store, {n: source / n for n in files})):
        top = store.get_tree(link)

        assert top["hello.txt"].size == 6
        assert top["deep"].size == 256 + 1_500_000 + 6
        assert store.get_tree(top["deep"].link)["er"].size == 256


def test_what_a_folder_is_on_this_machine_is_not_part_of_it(store, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        fill(folder)
    os.utime(second / "hello.txt", ns=(1, 1))
    (second / "hello.txt").chmod(0o666)

    assert put_folder(store, first) == put_folder(store, second)


def test_files_are_put_under_the_paths_that_they_are_given(store, tmp_path):
    (tmp_path / "here").write_bytes(b"from disk")
    (tmp_path / "here").chmod(0o755)

    link = put_files(store, {"a/b/c": tmp_path / "here", "a/d": b"from memory", "e": b""})

    write_folder(store, link, tmp_path / "out")
    assert read(tmp_path / "out") == {"a/b/c": b"from disk", "a/d": b"from memory", "e": b""}
    assert store.get_tree(link)["e"].mode == 0o644
    inner = store.get_tree(store.get_tree(store.get_tree(link)["a"].link)["b"].link)
    assert inner["c"].mode == 0o644


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "a/./b", "a/../b", "a/", "", "a\nb"])
def test_a_path_that_leads_out_is_refused(store, name):
    with pytest.raises(errors.BadName):
        put_files(store, {name: b"x"})


def test_a_file_that_is_a_folder_as_well_is_refused(store):
    with pytest.raises(errors.BadName, match="a file and a folder at once"):
        put_files(store, {"a": b"x", "a/b": b"y"})


@pytest.mark.parametrize("kind", ["symlink", "symlink to a folder", "pipe", "bad name"])
def test_what_is_no_file_is_refused(store, tmp_path, kind):
    source = tmp_path / "source"
    source.mkdir()
    match kind:
        case "symlink":
            (source / "x").symlink_to("/etc/passwd")
        case "symlink to a folder":
            (source / "x").symlink_to(tmp_path)
        case "pipe":
            os.mkfifo(source / "x")
        case "bad name":
            (source / os.fsdecode(b"\xff")).write_bytes(b"x")

    with pytest.raises(errors.BadName):
        put_folder(store, source)


def test_a_folder_may_stand_for_something_else(store, tmp_path):
    source = tmp_path / "source"
    (source / "prices.table").mkdir(parents=True)
    (source / "plain").mkdir()
    table = store.put_table({})

    def special(path: Path) -> Entry | None:
        return Entry(kind="table", link=table, size=8) if path.suffix == ".table" else None

    link = put_folder(store, source, special)

    tree = store.get_tree(link)
    assert {name: entry.kind for name, entry in tree.items()} == {
        "plain": "tree",
        "prices": "table",
    }
    assert write_folder(store, link, tmp_path / "out") == []
    assert not (tmp_path / "out" / "prices").exists()
    (source / "prices").write_bytes(b"a file of that name")
    with pytest.raises(errors.BadName, match="a table and a file at once"):
        put_folder(store, source, special)


def test_writing_replaces_nothing(store, tmp_path):
    link = store.put_blob(b"new")
    (tmp_path / "here").write_bytes(b"old")
    (tmp_path / "dangling").symlink_to(tmp_path / "elsewhere")

    for name in ("here", "dangling"):
        with pytest.raises(FileExistsError):
            write_blob(store, link, tmp_path / name)
    tree = store.put_tree({"here": Entry(kind="file", link=link, size=3, mode=0o644)})
    with pytest.raises(errors.StoreUnwritable, match="exists"):
        write_folder(store, tree, tmp_path)

    assert (tmp_path / "here").read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_file_of_a_tree_is_named(store: Store, fate, tmp_path: Path):
    link: Link = put_files(store, {"a": b"x", "b": b"y"})
    gone = store.get_tree(link)["b"].link
    fate.lose(store, gone)

    with pytest.raises(errors.ObjectMissing, match=str(gone)):
        write_folder(store, link, tmp_path / "out")
