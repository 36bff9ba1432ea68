"""Ref names, labels, and how people write a revision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rosdb import check_label, check_run_name
from rosdb.errors import BadName
from rosdb.refs import Named, Newest, check_ref, parse_revision

SEGMENTS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(st.lists(SEGMENTS, min_size=1, max_size=6).map("/".join))
def test_segments_make_a_ref(name):
    check_ref(name)


@pytest.mark.parametrize(
    "name",
    [
        *["", "/", "a/", "/a", "a//b", "a b", "a\n", "a\0", "../a", "a/../b", "a/.b", ".a", "-a"],
        *["a/-b", "_a", "é", "a/é", "\uff41", "a*", "a@", "a~1", "a\\b", "a:b", "a/" * 128 + "a"],
    ],
    ids=ascii,
)
def test_anything_else_is_refused(name):
    with pytest.raises(BadName) as caught:
        check_ref(name)

    assert caught.value.what == "ref"


@given(st.text(max_size=12))
def test_no_ref_holds_a_character_beyond_the_grammar(name):
    try:
        check_ref(name)
    except BadName:
        return
    assert name.isascii()
    assert name.replace("/", "a").replace(".", "a").replace("-", "a").replace("_", "a").isalnum()
    assert not any(part == "" or part[0] in "._-" for part in name.split("/"))


def test_a_ref_s_length_ends_at_its_limit():
    check_ref("x" * 255)
    with pytest.raises(BadName, match="longer than 255 bytes"):
        check_ref("x" * 256)


@pytest.mark.parametrize("name", ["a", "1", "sp500-daily", "1999-2018", "v1.2_3", "x" * 128])
def test_labels(name):
    check_label("dataset name", name)


@pytest.mark.parametrize("name", ["", "a/b", ".a", "-a", "_a", "a b", "é", "a@1", "a\n", "x" * 129])
def test_labels_that_are_refused(name):
    with pytest.raises(BadName) as caught:
        check_label("dataset name", name)

    assert (caught.value.what, caught.value.name) == ("dataset name", name)


@pytest.mark.parametrize("name", ["best", "abc", "0", "cafe-1", "deadbeeg", "face_", "sma.v2"])
def test_run_names(name):
    check_run_name(name)


@pytest.mark.parametrize("name", ["cafe", "DEAD", "0123456789", "a" * 64, "a" * 128])
def test_run_names_that_could_be_a_prefix_are_refused(name):
    with pytest.raises(BadName, match="the first digits of a run's hash"):
        check_run_name(name)


@pytest.mark.parametrize(
    ("text", "revision"),
    [
        ("@", Newest(experiment=None, back=0)),
        ("@~0", Newest(experiment=None, back=0)),
        ("@~12", Newest(experiment=None, back=12)),
        ("sma@", Newest(experiment="sma", back=0)),
        ("sma_crossover@~3", Newest(experiment="sma_crossover", back=3)),
        ("best", Named(name="best", prefix=None)),
        ("abc", Named(name="abc", prefix=None)),
        ("abcd", Named(name="abcd", prefix="abcd")),
        ("ABCD", Named(name="ABCD", prefix="abcd")),
        ("a" * 64, Named(name="a" * 64, prefix="a" * 64)),
        ("a" * 65, Named(name="a" * 65, prefix=None)),
        ("", Named(name="", prefix=None)),
        ("@~", Named(name="@~", prefix=None)),
        ("@~x", Named(name="@~x", prefix=None)),
        ("@~-1", Named(name="@~-1", prefix=None)),
        ("@~1234567890", Named(name="@~1234567890", prefix=None)),
        ("a@b", Named(name="a@b", prefix=None)),
        ("abcd~1", Named(name="abcd~1", prefix=None)),
    ],
    ids=repr,
)
def test_revisions(text, revision):
    assert parse_revision(text) == revision


@given(st.text(max_size=80))
def test_any_text_is_a_revision_of_some_kind(text):
    revision = parse_revision(text)

    if isinstance(revision, Named):
        assert revision.name == text
        assert revision.prefix is None or set(revision.prefix) <= set("0123456789abcdef")
