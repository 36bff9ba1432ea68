"""What a folder may hold: the names of its files, and where its links lead."""

import hashlib
import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.datasets import manifest as manifest_module
from research.datasets.errors import BadManifest, UnsafePath
from research.datasets.manifest import check_folder, list_folder, load_manifest

FILES = {"bars.csv": b"date\n1999-01-04\n", "raw/LICENSE.txt": b"free\n"}


def checksums() -> dict[str, Any]:
    return {path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()}


def write_manifest(folder: Path, checksums: dict[str, Any]) -> None:
    content = {
        "source": "made up",
        "created_at": "2024-01-31",
        "schema": {},
        "checksums": checksums,
    }
    (folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    write_manifest(folder, checksums())
    return folder


BAD_PATHS = [
    ("", "has a part that is empty or a dot"),
    (".", "has a part that is empty or a dot"),
    ("./bars.csv", "has a part that is empty or a dot"),
    ("a//b", "has a part that is empty or a dot"),
    ("a/", "has a part that is empty or a dot"),
    ("..", "leads up, out of the folder"),
    ("a/../b", "leads up, out of the folder"),
    ("../../etc/passwd", "leads up, out of the folder"),
    ("/etc/passwd", "is an absolute path"),
    ("a\\b", "has a backslash"),
    ("C:\\a", "has a backslash"),
    ("a\nb", "has a control character"),
    ("a\x00b", "has a control character"),
    ("a\x7fb", "has a control character"),
    ("x" * 256, "has a name of more than 255 bytes"),
    ("a/" + "\N{SNOWMAN}" * 86, "has a name of more than 255 bytes"),
]


@pytest.mark.parametrize(("path", "reason"), BAD_PATHS)
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_listed_path_stays_in_the_folder(
    folder: Path, path: str, reason: str, is_nested: bool
) -> None:
    listed: dict[str, Any] = {path: "0" * 64}
    write_manifest(folder, {"sha256": listed} if is_nested else listed)

    with pytest.raises(UnsafePath) as caught:
        load_manifest(folder)

    assert caught.value.args == (str(folder), path, reason)


@pytest.mark.parametrize("name", [b"a\\b", b"a\nb", b"a\x1b[2Jb", b"\xff"])
def test_a_name_on_disk_keeps_the_same_rule(folder: Path, name: bytes) -> None:
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system refuses the name itself")

    for ask in (list_folder, check_folder):
        with pytest.raises(UnsafePath) as caught:
            ask(folder)
        assert str(caught.value).isprintable()


def test_a_link_to_a_file_inside_is_read_as_that_file(folder: Path) -> None:
    (folder / "raw" / "latest.csv").symlink_to("../bars.csv")
    (folder / "hop").symlink_to("raw/latest.csv")
    listed = checksums()
    listed["raw/latest.csv"] = listed["hop"] = listed["bars.csv"]
    write_manifest(folder, listed)

    found = {file.path: file for file in check_folder(folder)}

    assert found.keys() == listed.keys()
    for path in ("hop", "raw/latest.csv"):
        assert found[path].source == folder.resolve() / "bars.csv"
        assert found[path].size_bytes == len(FILES["bars.csv"])


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("../outside", "is a link that leaves the folder"),
        ("/dev/null", "is a link that leaves the folder"),
        ("absent", "is a link that leads nowhere"),
        ("link", "is a link that leads nowhere"),
        ("raw", "is a link to a folder"),
        (".", "is a link to a folder"),
        ("..", "is a link that leaves the folder"),
    ],
)
def test_any_other_link_is_refused(folder: Path, target: str, reason: str) -> None:
    (folder.parent / "outside").write_bytes(b"secret")
    (folder / "link").symlink_to(target)

    for ask in (list_folder, check_folder):
        with pytest.raises(UnsafePath) as caught:
            ask(folder)
        assert caught.value.path == "link"
        assert caught.value.reason.startswith(reason)


def test_a_link_into_a_folder_whose_name_begins_alike_leaves_the_folder(folder: Path) -> None:
    sibling = folder.parent / "data-of-others"
    sibling.mkdir()
    (sibling / "a").write_bytes(b"")
    (folder / "link").symlink_to("../data-of-others/a")

    with pytest.raises(UnsafePath, match="leaves the folder"):
        list_folder(folder)


def test_the_manifest_is_no_link_out_of_the_folder(folder: Path) -> None:
    (folder / "manifest.json").rename(folder.parent / "manifest.json")
    (folder / "manifest.json").symlink_to("../manifest.json")

    with pytest.raises(UnsafePath, match="leaves the folder"):
        check_folder(folder)


def test_a_folder_may_itself_be_reached_by_a_link(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)

    assert [file.path for file in check_folder(link)] == sorted(FILES)


def test_a_special_file_is_refused_and_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe")

    for ask in (list_folder, check_folder):
        with pytest.raises(UnsafePath, match="is neither a file nor a folder"):
            ask(folder)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # A socket's path is short by law.
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(UnsafePath, match="is neither a file nor a folder"):
            list_folder(Path())


def test_a_pipe_for_a_manifest_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")

    with pytest.raises(BadManifest, match="there is no such file"):
        load_manifest(tmp_path)


def test_a_folder_without_a_manifest_is_listed_all_the_same(folder: Path) -> None:
    assert [file.path for file in list_folder(folder)] == sorted([*FILES, "manifest.json"])
    (folder / "void" / "within").mkdir(parents=True)
    assert len(list_folder(folder)) == len(FILES) + 1


def test_what_is_no_folder_stays_an_oserror(folder: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_folder(folder / "absent")
    with pytest.raises(NotADirectoryError):
        list_folder(folder / "bars.csv")


NAMES = st.text(st.characters(codec="utf-8"), max_size=8) | st.sampled_from(["..", ".", "", "a"])


@given(parts=st.lists(NAMES, min_size=1, max_size=4))
def test_a_path_that_is_accepted_stays_below_any_folder(parts: list[str]) -> None:
    path = "/".join(parts)
    if manifest_module._path_fault(path) is None:
        joined = os.path.normpath("/folder/" + path)
        assert joined == "/folder/" + path
        assert Path(joined).is_relative_to("/folder")
