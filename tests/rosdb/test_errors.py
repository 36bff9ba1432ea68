"""Every error of the store survives a process pool, and says what it knows."""

import inspect
import pickle
import re

import pytest

from rosdb import errors
from rosdb.errors import IdAmbiguous, StoreError

EXAMPLES: dict[str, object] = {
    "path": "/a/store/{braces}",
    "found": "'research-os store 9'",
    "reason": "No space left on device",
    "seconds": 60.0,
    "what": "ref",
    "name": "a b",
    "column": 7,
    "text": "metrics. > 1",
    "object_id": "ab" * 32,
    "offset": 4711,
    "ref": "names/best",
    "expected": "cd" * 32,
    "revision": "@~99",
    "prefix": "abcd",
    "candidates": ("abcd" + "0" * 60, "abcd" + "1" * 60),
}
CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, StoreError) and value is not StoreError
]


def example(kind: type[StoreError]) -> StoreError:
    names = [name for name in inspect.signature(kind.__init__).parameters if name != "self"]
    return kind(*(EXAMPLES[name] for name in names))


def test_the_tree_at_the_top_names_every_class():
    assert errors.__doc__ is not None
    drawn = re.findall(r"── (\w+)", errors.__doc__)

    assert drawn == [kind.__name__ for kind in CLASSES]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_survives_a_pickle(kind):
    error = example(kind)

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is kind
    assert vars(copy) == vars(error) != {}
    assert str(copy) == str(error)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_message_shows_every_field(kind):
    error = example(kind)

    message = str(error)

    for name, value in vars(error).items():
        shown = value if name == "candidates" else [value]
        assert all(str(part)[:16] in message for part in shown), name
    assert "\n" not in message
    assert message != StoreError.template


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_note_does_not_break_the_message(kind):
    error = example(kind)
    before = str(error)

    error.add_note("seen while replaying")

    assert str(error) == before


def test_a_long_list_of_candidates_is_cut():
    error = IdAmbiguous("ab", [f"{i:064x}" for i in range(30)])

    assert str(error).endswith("and 22 more")
    assert len(error.candidates) == 30
    assert len(str(error)) < 300
