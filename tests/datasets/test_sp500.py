"""The data set that ships: it verifies, and its bars are those that were pinned."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from research.bars import COLUMNS, first_fault
from research.datasets.bars_file import PARSER, is_bars_file, read_bars
from research.datasets.manifest import check_folder, load_manifest

FOLDER = Path(__file__).parents[2] / "research" / "datasets" / "sp500-daily" / "1999-2018"


@pytest.fixture(scope="module")
def bars() -> dict[str, np.ndarray]:
    return read_bars(FOLDER / "bars.csv")


def test_the_folder_verifies_with_the_licence_beside_the_data() -> None:
    assert [file.path for file in check_folder(FOLDER)] == ["LICENSE.txt", "bars.csv"]


def test_the_manifest_says_where_the_data_is_from() -> None:
    manifest = load_manifest(FOLDER)

    assert "arch 8.0.0" in manifest.source
    assert "NCSA" in manifest.source
    assert "Kevin Sheppard" in (FOLDER / "LICENSE.txt").read_text(encoding="utf-8")
    assert isinstance(manifest.schema, dict)
    assert manifest.schema.keys() == {"bars.csv"}


def test_the_bars_are_taken_as_bars_and_sound(bars: dict[str, np.ndarray]) -> None:
    assert is_bars_file(FOLDER / "bars.csv")
    assert tuple(bars) == COLUMNS
    assert {column.size for column in bars.values()} == {5031}
    assert first_fault(bars) is None


def test_the_first_and_last_rows_are_pinned(bars: dict[str, np.ndarray]) -> None:
    def row(index: int) -> tuple[datetime, list[float]]:
        at = datetime.fromtimestamp(bars["at_ns"][index].item() // 10**9, UTC)
        return at, [bars[name][index].item() for name in COLUMNS[1:]]

    assert row(0) == (
        datetime(1999, 1, 4, tzinfo=UTC),
        [1229.22998, 1248.810059, 1219.099976, 1228.099976, 877000000.0],
    )
    assert row(-1) == (
        datetime(2018, 12, 31, tzinfo=UTC),
        [2498.939941, 2509.23999, 2482.820068, 2506.850098, 3442870000.0],
    )


def test_what_the_parser_reads_is_pinned(bars: dict[str, np.ndarray]) -> None:
    # Whoever changes a byte of this reading gives the parser a new version.
    assert PARSER == "bars-csv/v1"
    little_endian = b"".join(
        bars[name].astype(bars[name].dtype.newbyteorder("<")).tobytes() for name in COLUMNS
    )
    assert (
        hashlib.sha256(little_endian).hexdigest()
        == "e3f66b289a281b95b15b1b2a5e51c27e26eb4bc3472a5302cb8dcad4afc03aae"
    )


def test_the_prices_are_written_as_their_shortest_decimals(bars: dict[str, np.ndarray]) -> None:
    lines = (FOLDER / "bars.csv").read_text(encoding="ascii").splitlines()[1:]

    for index in (0, 1, 2515, 5030):
        prices = [repr(bars[name][index].item()) for name in ("open", "high", "low", "close")]
        assert lines[index].split(",")[1:5] == prices
