"""Equivalent sources, one key: the option ``cache.code``, and what stays true under it."""

import ast
import io
import sysconfig
import tokenize
from pathlib import Path
from textwrap import dedent

import pytest

from research.errors import BadInput
from research.experiments import replay, runs
from research.experiments.code_key import line_in_source, normal_form

HELPER = 'def fee(x):\n    """Half."""\n    return x / 2\n'
SAME = {
    "a comment": HELPER + "# A word.\n",
    "a comment inside": HELPER.replace("return", "# Half of it.\n    return"),
    "no docstring": HELPER.replace('    """Half."""\n', ""),
    "another docstring": HELPER.replace("Half.", "One half.\n\n    Of it."),
    "a module's docstring": '"""Fees."""\n\n' + HELPER,
    "blank lines": "\n\n" + HELPER.replace(":\n", ":\n\n"),
    "spaces": HELPER.replace("x / 2", "x/2").replace("fee(x)", "fee( x )"),
    "parentheses": HELPER.replace("x / 2", "(x / (2))"),
    "line ends": HELPER.replace("\n", "\r\n"),
    "a broken line": HELPER.replace("x / 2", "(\n        x\n        / 2\n    )"),
    "digits": HELPER.replace("/ 2", "/ 0x2"),
}
OTHER = {
    "a constant": HELPER.replace("/ 2", "/ 4"),
    "a float": HELPER.replace("/ 2", "/ 2.0"),
    "a name": HELPER.replace("x", "y"),
    "a default": HELPER.replace("(x)", "(x=1)"),
    "a statement": HELPER + "RATE = 1\n",
    "a text that is used": HELPER.replace('"""Half."""', 'note = "Half."'),
    "an annotation": HELPER.replace("(x)", "(x: float)"),
}


def set_option(bench, text):
    (bench.folder / "ros.toml").write_text(text)


@pytest.fixture
def helped(bench):
    """Give a bench with an experiment that has a helper, and the option ``syntax``."""
    set_option(bench, '[cache]\ncode = "syntax"\n')
    bench.write("fees.py", HELPER)
    bench.experiment("helped", "return {'fee': fee(1)}", head="from fees import fee")
    return bench


def write_helper(bench, text):
    (bench.context.experiments_folder / "fees.py").write_bytes(text.encode())


@pytest.mark.parametrize("change", SAME)
def test_what_says_the_same_has_one_key(helped, change):
    before = helped.fingerprint("helped")
    write_helper(helped, SAME[change])

    assert helped.fingerprint("helped") == before


@pytest.mark.parametrize("change", OTHER)
def test_what_says_something_else_has_another(helped, change):
    before = helped.fingerprint("helped")
    write_helper(helped, OTHER[change])

    assert helped.fingerprint("helped") != before


@pytest.mark.parametrize("text", [None, "", '[cache]\ncode = "bytes"\n'])
def test_by_default_every_byte_counts(helped, text):
    (helped.folder / "ros.toml").unlink()
    if text is not None:
        set_option(helped, text)
    before = helped.fingerprint("helped")
    write_helper(helped, SAME["a comment"])

    assert helped.fingerprint("helped") != before


def test_a_comment_is_answered_from_the_store_and_a_change_is_run(helped):
    first = helped.run("helped")
    write_helper(helped, SAME["a broken line"])
    again = helped.run("helped")
    write_helper(helped, OTHER["a constant"])
    changed = helped.run("helped")

    assert (again.is_cached, again.manifest.run_id) == (True, first.manifest.run_id)
    assert (changed.is_cached, changed.manifest.metrics) == (False, {"fee": 0.25})


def test_what_is_hashed_is_what_is_executed(helped):
    """Law 1: lines and docstrings of the original are not there to be seen by the run."""
    helped.write(
        "seer.py",
        """
        # A comment that moves every line.
        import sys

        def where():
            return sys._getframe().f_lineno
        """,
    )
    helped.experiment("sees", "return {'line': where()}", head="from seer import where")
    first = helped.run("sees")
    path = helped.context.experiments_folder / "seer.py"
    path.write_text("# One more.\n" * 9 + path.read_text())

    again = helped.run("sees", force=True)

    assert again.manifest.recipe_id == first.manifest.recipe_id
    assert again.manifest.outcome_id == first.manifest.outcome_id
    assert again.contradicts is None


def test_a_replay_needs_no_option(helped):
    ran = helped.run("helped").manifest
    (helped.folder / "ros.toml").unlink()
    write_helper(helped, OTHER["a constant"])

    found = replay.replay(helped.context, ran.run_id)

    assert found.verdict == "identical"
    code = helped.store.get_tree(found.original.recipe.links["code"])
    assert helped.store.get_blob(code["fees.py"].link) == b"def fee(x):\n    return x / 2\n"


def test_the_two_options_never_share_an_answer_that_could_differ(helped):
    by_syntax = helped.run("helped").manifest
    set_option(helped, '[cache]\ncode = "bytes"\n')
    by_bytes = helped.run("helped").manifest

    assert by_syntax.recipe_id != by_bytes.recipe_id
    assert by_syntax.outcome_id == by_bytes.outcome_id


def test_who_reads_docstrings_keeps_them(helped):
    helped.write("talks.py", '"""Said."""\n\n\ndef said():\n    return __doc__\n')
    helped.experiment("asks", "return {'said': said()}", head="from talks import said")

    assert helped.run("asks").manifest.metrics == {"said": "Said."}
    before = helped.fingerprint("asks")
    helped.write("talks.py", '"""Told."""\n\n\ndef said():\n    return __doc__\n')
    assert helped.fingerprint("asks") != before


def test_an_error_is_told_with_the_line_of_the_file(helped):
    from research.errors import RunFailed

    write_helper(
        helped,
        '# Fees.\n\n\n\n"""Long."""\n\n\ndef fee(x):\n    """Half."""\n\n    # Never.\n\n'
        "    y = (x\n        + 1)\n    raise ValueError(\n        y\n    )\n",
    )
    with pytest.raises(RunFailed) as caught:
        helped.run("helped")
    manifest = runs.read_run(helped.store, helped.store.resolve(caught.value.run_id))

    assert caught.value.where == "fees.py, line 15"
    assert manifest.error["where"] == "fees.py, line 3"


def test_our_own_modules_are_as_they_are(helped):
    helped.experiment("uses", head="from research import simulate")
    ran = helped.run("uses").manifest
    tree = ran.recipe.links["code"]
    for name in ("research", "simulation"):
        tree = helped.store.get_tree(tree)[name].link
    from research.simulation import engine

    stored = helped.store.get_blob(helped.store.get_tree(tree)["engine.py"].link)
    assert stored == Path(engine.__file__).read_bytes()


def test_the_standard_library_comes_back_from_its_normal_form():
    """The normal form parses to the same tree, and is its own normal form."""
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("[a-d]*.py"))
    assert len(paths) > 20
    for path in paths:
        source = path.read_bytes()
        normal = normal_form(source)
        assert normal_form(normal) == normal, path
        if normal != source:
            tokens = tokenize.tokenize(io.BytesIO(normal).readline)
            assert tokenize.COMMENT not in {token.type for token in tokens}, path


@pytest.mark.parametrize(
    "source",
    [
        "def (",
        "x = '\x00'",
        "try:\n    x = 1\nfinally:\n    'said'\n",
        "import inspect\n# Kept.\n",
        "def f():\n    'Doc.'\n    return f.__doc__\n",
    ],
)
def test_what_has_no_normal_form_stays(source):
    assert normal_form(source.encode()) == source.encode()


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    'a'\n    'b'\n",
        "class A:\n    'a'\n\n    x = 1\n    'about x'\n",
        "if x:\n    'a'\nelse:\n    'b'\n",
        "match x:\n    case 1:\n        'a'\n",
        "async def f():\n    'a'\n    await g()\n",
        "'only'\n",
    ],
)
def test_bare_strings_go_and_the_rest_stays(source):
    normal = normal_form(source.encode()).decode()

    strings = [n for n in ast.walk(ast.parse(normal)) if isinstance(n, ast.Constant) and n.value in ("a", "b", "about x", "only")]  # fmt: skip
    assert strings == []


def test_a_line_of_the_normal_form_leads_to_the_files():
    source = dedent(
        '''
        """Doc."""

        # One.
        a = 1


        def f():
            """Doc."""
            # Two.
            return a
        '''
    ).encode()
    normal = normal_form(source).decode().splitlines()

    assert line_in_source(source, normal.index("a = 1") + 1) == 5
    assert line_in_source(source, normal.index("    return a") + 1) == 11
    assert line_in_source(b"def (", 7) == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[cache]\ncode = "ast"\n', '"bytes" or "syntax", not \'ast\''),
        ("[cache]\ncode = 1\n", '"bytes" or "syntax", not 1'),
        ('[cache]\ncodes = "syntax"\n', "has no option 'codes'; known: code"),
        ('[caches]\ncode = "syntax"\n', "no section 'caches'"),
        ("cache = 1\n", "no section 'cache'"),
        ("[cache\n", "cannot be read"),
        ("\xff", None),
        ("#" * 70_000, "longer than"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_one_line(helped, text, message):
    if message is None:
        (helped.folder / "ros.toml").write_bytes(b"\xff")
        message = "cannot be read"
    else:
        set_option(helped, text)

    with pytest.raises(BadInput, match=r"ros\.toml") as caught:
        helped.run("helped")

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
