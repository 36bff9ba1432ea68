"""The errors of datasets: fields that survive a process pool, and one line of text."""

import inspect
import pickle

import pytest

from research.datasets import errors
from research.datasets.errors import DatasetError

EXAMPLES = {
    "BadLine": (
        errors.BadLine("bars.csv", 7, "is not UTF-8"),
        "bars.csv, line 7: is not UTF-8",
    ),
    "BadBar": (
        errors.BadBar("bars.csv", 7, "Close", "'x' is not a finite number"),
        "bars.csv, line 7, column Close: 'x' is not a finite number",
    ),
    "BadManifest": (
        errors.BadManifest("data/manifest.json", "has no source"),
        "data/manifest.json: has no source",
    ),
    "UnsafePath": (
        errors.UnsafePath("data", "a\x1b\udcff", "has a control character"),
        "data: 'a\\x1b\\udcff' has a control character",
    ),
    "ChecksumMismatch": (
        errors.ChecksumMismatch("data", "a.csv", "md5", "00", "11"),
        "data: a.csv is not what the manifest says: md5 11, not 00",
    ),
    "FileUnlisted": (
        errors.FileUnlisted("data", "a.csv"),
        "data: a.csv is not listed in the checksums of manifest.json",
    ),
    "FileMissing": (
        errors.FileMissing("data", "a.csv"),
        "data: a.csv is listed in the checksums of manifest.json, but is not there",
    ),
}


def test_every_class_has_an_example_and_stands_in_the_docstring() -> None:
    classes = {
        name: member
        for name, member in inspect.getmembers(errors, inspect.isclass)
        if member.__module__ == errors.__name__
    }

    assert all(issubclass(member, DatasetError) for member in classes.values())
    assert all(name in (errors.__doc__ or "") for name in classes)
    assert classes.keys() - EXAMPLES.keys() == {"DatasetError", "IntegrityError"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_error_is_one_line_and_pickles_with_its_fields(name: str) -> None:
    error, text = EXAMPLES[name]

    copy = pickle.loads(pickle.dumps(error))

    assert str(error) == str(copy) == text
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert tuple(vars(error).values()) == error.args
