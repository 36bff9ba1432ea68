"""The packs of a store: every object is found, whatever has become of the indexes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rosdb import disk, merge, packs
from rosdb.objects import Kind, id_of
from rosdb.pack_file import Damaged, Entry, PackFile, PackWriter, encode_header
from rosdb.packs import Packs, Place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("pack", "tmp"):
        (tmp_path / name).mkdir()
    return tmp_path / "pack"


@pytest.fixture
def opened(folder: Path) -> Callable[[], Packs]:
    """Give a way to look at the folder anew, as another process would."""
    return lambda: Packs(folder, folder.parent / "tmp")


def add(found: Packs, *contents: bytes) -> str:
    """Write a pack of blobs; return its name."""
    writer = PackWriter(found.folder.parent / "tmp")
    for content in contents:
        head = encode_header(Entry.BLOB, 0, len(content), content, digest(content))
        writer.append(head, content)
    return found.write_pack(writer, is_synced=True)


def digest(content: bytes) -> bytes:
    return id_of(Kind.BLOB, content).digest


def get(found: Packs, content: bytes) -> list[bytes]:
    """Return the content of each place where an object is said to be."""
    places = list(found.places(digest(content)))
    assert found.has(digest(content)) == bool(places)
    return [bytes(found.entry(place, digest(content))[2]) for place in places]


# --- Looking ------------------------------------------------------------------------------------


def test_what_is_written_is_found_by_the_writer_and_by_others(opened):
    writer = opened()
    name = add(writer, b"a", b"b")

    for found in (writer, opened()):
        assert get(found, b"a") == [b"a"]
        assert get(found, b"b") == [b"b"]
        assert get(found, b"c") == []
        assert found.names() == [name]
        assert found.size(name) == os.stat(found.path(name)).st_size


def test_an_object_in_several_packs_has_several_places(opened):
    writer = opened()
    names = {add(writer, b"a", b"%d" % number) for number in range(3)}

    for found in (writer, opened()):
        assert {place.pack for place in found.places(digest(b"a"))} == names
        assert get(found, b"a") == [b"a"] * 3


def test_no_packs_at_all_are_none(tmp_path):
    found = Packs(tmp_path / "none", tmp_path)

    assert found.names() == []
    assert get(found, b"a") == []
    assert not found.refresh()


def test_foreign_files_are_no_packs(opened, folder):
    name = add(opened(), b"a")
    for each in (
        f"pack-{name}.pack.tmp",
        "pack-1.pack",
        f"pack-{'G' * 64}.pack",
        "multi-.idx",
        "x",
    ):
        (folder / each).write_bytes(b"foreign")
    (folder / f"pack-{'0' * 64}.idx").write_bytes(b"an index of nothing")

    assert opened().names() == [name]
    assert get(opened(), b"a") == [b"a"]


# --- Listing again ------------------------------------------------------------------------------


def test_what_came_later_is_found_after_another_look(opened):
    reader, writer = opened(), opened()
    first = add(writer, b"a")
    assert get(reader, b"a") == [b"a"]
    second = add(writer, b"b")

    assert get(reader, b"b") == []
    assert reader.refresh()
    assert get(reader, b"b") == [b"b"]
    assert reader.names() == sorted([first, second])
    assert not reader.refresh()


def test_what_has_gone_is_not_found_after_another_look(opened):
    reader, writer = opened(), opened()
    first, second = add(writer, b"a"), add(writer, b"b")
    assert get(reader, b"a") == [b"a"]

    writer.forget([first])

    assert get(writer, b"a") == []
    assert reader.refresh()
    assert get(reader, b"a") == []
    assert reader.names() == writer.names() == [second]
    assert sorted(path.suffix for path in reader.folder.iterdir()) == [".idx", ".pack"]


def test_a_pack_that_goes_between_listing_and_opening_is_the_system_s_word(opened):
    """The caller looks again; see test_object_store.py."""
    reader, writer = opened(), opened()
    name = add(writer, b"a")
    (place,) = reader.places(digest(b"a"))
    writer.forget([name])

    with pytest.raises(FileNotFoundError):
        reader.entry(place, digest(b"a"))


def test_a_pack_that_is_open_is_read_on(opened):
    reader, writer = opened(), opened()
    name = add(writer, b"a")
    assert get(reader, b"a") == [b"a"]

    writer.forget([name])

    assert get(reader, b"a") == [b"a"]


@pytest.mark.parametrize("gone", ["pack", "idx"])
def test_a_file_that_goes_while_the_folder_is_listed_hides_nothing_else(opened, monkeypatch, gone):
    """As where another process merges: the listing says what was, and the rest is read."""
    writer = opened()
    name = add(writer, b"a")
    add(writer, b"b")
    (writer.folder / f"pack-{name}.idx").unlink()
    real = os.listdir

    def stale(folder: Path) -> list[str]:
        listed = [*real(folder), f"pack-{name}.idx"]
        if gone == "pack":
            writer.path(name).unlink()
        return listed

    reader = opened()
    with monkeypatch.context() as patch:
        patch.setattr(os, "listdir", stale)
        reader.refresh()

    assert get(reader, b"b") == [b"b"]
    assert get(reader, b"a") == ([b"a"] if gone == "idx" else [])


def test_many_packs_hold_few_files_open(opened, monkeypatch):
    monkeypatch.setattr(packs, "_OPEN_PACKS_MAX", 3)
    found = opened()
    contents = [b"%d" % number for number in range(10)]
    for content in contents:
        add(found, content)

    for content in contents * 2:
        assert get(found, content) == [content]
        assert len(found._open) <= 3


# --- Indexes ------------------------------------------------------------------------------------


def harm(path: Path, damage: str) -> None:
    data = path.read_bytes()
    path.unlink()
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "torn":
            path.write_bytes(data[:-40] + bytes(40))
        case "cut":
            path.write_bytes(data[:-40])
        case "zeros":
            path.write_bytes(bytes(len(data)))
        case "folder":
            path.mkdir()
        case "other":
            other = path.parent / "other"
            writer = Packs(other, path.parents[1] / "tmp")
            other.mkdir()
            name = add(writer, b"another", b"pack")
            path.write_bytes(writer.index_path(name).read_bytes())


@pytest.mark.parametrize("damage", ["gone", "empty", "torn", "cut", "zeros", "other"])
def test_an_index_is_made_anew_from_its_pack(opened, damage):
    contents = [b"%d" % number for number in range(40)]
    name = add(opened(), *contents)
    index = opened().index_path(name)
    sound = index.read_bytes()
    harm(index, damage)

    found = opened()
    found.refresh()
    found.verify_indexes()

    assert [get(found, content) for content in contents] == [[content] for content in contents]
    assert index.read_bytes() == sound
    assert found.take_rebuilt_count() == 1
    assert found.take_rebuilt_count() == 0


def test_an_index_that_cannot_be_written_is_held_in_memory(opened):
    name = add(opened(), b"a")
    harm(opened().index_path(name), "folder")

    found = opened()

    assert get(found, b"a") == [b"a"]
    assert opened().index_path(name).is_dir()


def test_an_index_that_lies_changes_nothing(opened):
    """It says where to look; the entry there says what it is."""
    found = opened()
    name = add(found, b"a", b"b")
    (a,), (b,) = found.places(digest(b"a")), found.places(digest(b"b"))

    assert a.pack == b.pack == name
    for place in (Place(name, b.offset), Place(name, a.offset + 1), Place(name, 10**9)):
        with pytest.raises(Damaged):
            found.entry(place, digest(b"a"))
        with pytest.raises(Damaged):
            found.header(place, digest(b"a"))


def test_a_pack_that_is_damaged_is_indexed_as_far_as_it_is_sound(opened):
    name = add(opened(), b"first", b"middle", b"last")
    path = opened().path(name)
    data = bytearray(path.read_bytes())
    data[data.index(b"middle")] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    opened().index_path(name).unlink()

    found = opened()

    assert get(found, b"first") == [b"first"]
    assert get(found, b"last") == [b"last"]
    assert get(found, b"middle") == []


# --- One index over several ---------------------------------------------------------------------


@pytest.fixture
def several(opened: Callable[[], Packs], monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give the contents of ten packs that have one index, and of one that has its own."""
    monkeypatch.setattr(merge, "MERGED_BELOW_BYTES", 0)
    found = opened()
    contents = [b"%d" % number for number in range(10)]
    for content in contents:
        add(found, content, b"beside " + content)
    assert merge.merge_indexes(found)
    add(found, b"alone")
    return [*contents, b"alone"]


def test_one_index_stands_for_several_packs(opened, several, folder):
    found = opened()

    assert sorted(path.name[:5] for path in folder.glob("*.idx")) == ["multi", "pack-"]
    assert [get(found, content) for content in several] == [[content] for content in several]
    assert len(found.layers()) == 2


def test_an_index_hides_no_second_copy(opened, monkeypatch):
    """It has one place for an id, and the copy there may be damaged."""
    monkeypatch.setattr(merge, "MERGED_BELOW_BYTES", 0)
    found = opened()
    for number in range(20):
        add(found, b"%d" % number, *([b"twice"] if number in (3, 7) else []))

    assert merge.merge_indexes(found)

    for each in (found, opened()):
        assert get(each, b"twice") == [b"twice"] * 2
        assert len(each.layers()) == 2


def test_a_reader_of_before_finds_all_after(opened, monkeypatch):
    monkeypatch.setattr(merge, "MERGED_BELOW_BYTES", 0)
    reader, writer = opened(), opened()
    contents = [b"%d" % number for number in range(10)]
    for content in contents:
        add(writer, content)
    assert get(reader, b"0") == [b"0"]

    merge.merge_indexes(writer)

    for _ in range(2):
        assert [set(get(reader, content)) for content in contents] == [{c} for c in contents]
        reader.refresh()


def test_an_index_over_several_outlives_some_of_them(opened, several, folder):
    found = opened()
    gone = [place.pack for content in several[:3] for place in found.places(digest(content))]

    found.forget(gone)

    for each in (found, opened()):
        assert [get(each, content) for content in several[:3]] == [[]] * 3
        assert [get(each, content) for content in several[3:]] == [[c] for c in several[3:]]
    found.forget(found.names())
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("damage", ["gone", "empty", "torn", "cut", "zeros"])
def test_an_index_over_several_is_made_anew_as_one_each(opened, several, folder, damage):
    (multi,) = folder.glob("multi-*.idx")
    harm(multi, damage)

    found = opened()
    found.refresh()
    found.verify_indexes()

    assert [get(found, content) for content in several] == [[content] for content in several]
    assert len(list(folder.glob("pack-*.idx"))) == 11


# --- Writing ------------------------------------------------------------------------------------


def test_a_pack_is_durable_before_its_name_and_its_name_before_we_go_on(opened, monkeypatch):
    calls: list[tuple[str, str]] = []

    def note(name: str) -> Callable[..., object]:
        real = getattr(disk, name)

        def call(*arguments: object) -> object:
            calls.append((name, Path(arguments[-1]).suffix if name == "publish" else ""))
            return real(*arguments)

        return call

    for name in ("sync", "publish", "sync_folder"):
        monkeypatch.setattr(disk, name, note(name))

    add(opened(), b"a")

    assert calls == [("sync", ""), ("publish", ".pack"), ("publish", ".idx"), ("sync_folder", "")]


def test_what_is_put_again_is_freshened(opened):
    found = opened()
    name = add(found, b"a")
    os.utime(found.path(name), (0, 0))

    assert found.freshen(name)
    assert PackFile(found.path(name)).mtime_ns() > 10**15
    assert not found.freshen("0" * 64)


def test_a_folder_that_is_not_there_is_made(tmp_path):
    """As in a store of version 1, or in a copy that lost its empty folders."""
    (tmp_path / "tmp").mkdir()
    found = Packs(tmp_path / "pack", tmp_path / "tmp")

    add(found, b"a")

    assert get(Packs(tmp_path / "pack", tmp_path / "tmp"), b"a") == [b"a"]
