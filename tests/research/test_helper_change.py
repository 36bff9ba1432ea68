"""The helper test: whatever way a helper is reached, its change is a miss and the new answer (Law 8).

joblib, redun, DVC and Snakemake were asked the same, and each gave the old answer.
"""

import pytest

from research.experiments import known_bases


@pytest.fixture(params=["looked at anew", "known again"], autouse=True)
def remembered(request, monkeypatch):
    """Do all of it once as a new process does, once as one that has asked before."""
    if request.param == "known again":
        monkeypatch.setattr(known_bases, "_COARSE_NS", -(10**18))


MODULE = "def fee():\n    return {value}\n"
PACKAGE = {
    "pkg/__init__.py": "",
    "pkg/fees.py": MODULE,
    "pkg/inner/__init__.py": "",
    "pkg/inner/deep.py": "from ..fees import fee\n",
    "pkg/relay.py": "from . import fees\n\n\ndef fee():\n    return fees.fee()\n",
    "pkg/late.py": "def fee():\n    from .fees import fee\n    return fee()\n",
}
# way -> (head, body, files besides the package; {value} is what changes)
CODE = {
    "module": ("import fees", "fees.fee()", {"fees.py": MODULE}),
    "module under another name": ("import fees as f", "f.fee()", {"fees.py": MODULE}),
    "from a module": ("from fees import fee", "fee()", {"fees.py": MODULE}),
    "star": ("from fees import *", "fee()", {"fees.py": MODULE}),
    "package": (
        "import pkg2",
        "pkg2.fee()",
        {"pkg2/__init__.py": "from pkg2.a import fee\n", "pkg2/a.py": MODULE},
    ),
    "package's own file": ("import pkg2", "pkg2.fee()", {"pkg2/__init__.py": MODULE}),
    "module of a package": ("import pkg.fees", "pkg.fees.fee()", {}),
    "from a package": ("from pkg import fees", "fees.fee()", {}),
    "relative": ("from pkg.relay import fee", "fee()", {}),
    "relative, one up": ("from pkg.inner.deep import fee", "fee()", {}),
    "relative, in a function": ("from pkg.late import fee", "fee()", {}),
    "star of a package that lists its modules": (
        "from pkg2 import *",
        "fees.fee()",
        {"pkg2/__init__.py": "__all__ = ['fees']\n", "pkg2/fees.py": MODULE},
    ),
    "namespace package": ("from space.fees import fee", "fee()", {"space/fees.py": MODULE}),
    "inside a function": ("", "__import__('fees').fee()", {"fees.py": MODULE}),
    "in a function, by a statement": (
        "def late():\n    import fees\n    return fees.fee()",
        "late()",
        {"fees.py": MODULE},
    ),
    "importlib": (
        "import importlib",
        "importlib.import_module('fees').fee()",
        {"fees.py": MODULE},
    ),
    "importlib under another name": (
        "import importlib as il",
        "il.import_module('fees').fee()",
        {"fees.py": MODULE},
    ),
    "import_module under another name": (
        "from importlib import import_module as load",
        "load('fees').fee()",
        {"fees.py": MODULE},
    ),
    "importlib, by keyword": (
        "import importlib",
        "importlib.import_module(name='fees').fee()",
        {"fees.py": MODULE},
    ),
    "importlib, relative": (
        "import importlib",
        "importlib.import_module('.fees', 'pkg').fee()",
        {},
    ),
    "importlib.__import__": (
        "import importlib",
        "importlib.__import__('fees').fee()",
        {"fees.py": MODULE},
    ),
    "builtins": ("import builtins", "builtins.__import__('fees').fee()", {"fees.py": MODULE}),
    "__import__ with a list": ("", "__import__('pkg', fromlist=['fees']).fees.fee()", {}),
    "pkgutil": (
        "import pkgutil",
        "pkgutil.resolve_name('fees:fee')()",
        {"fees.py": MODULE},
    ),
    "runpy": ("import runpy", "runpy.run_module('fees')['fee']()", {"fees.py": MODULE}),
    "by its path": (
        "import runpy\nfrom pathlib import Path",
        "runpy.run_path(str(Path(__file__).with_name('fees.py')))['fee']()",
        {"fees.py": MODULE},
    ),
}
TEXT = {"rate.txt": "{value}", "data/rate.txt": "{value}", "pkg/rate.txt": "{value}"}
RESOURCES = "from importlib import resources\nimport importlib.resources\nimport pkgutil, pkg\n"
PATHS = (
    "import os\nfrom os.path import dirname, join\nfrom pathlib import Path\nimport pathlib\n"
    "import pkg.fees\n"
)
# What reads the text: each way of naming a file by constants.
DATA = {
    "with_name": (PATHS, "Path(__file__).with_name('rate.txt').read_text()"),
    "with_suffix": (PATHS, "(Path(__file__).parent / 'rate').with_suffix('.txt').read_text()"),
    "parent and a slash": (PATHS, "(Path(__file__).parent / 'rate.txt').read_text()"),
    "a subfolder": (PATHS, "(Path(__file__).parent / 'data' / 'rate.txt').read_text()"),
    "joinpath": (PATHS, "Path(__file__).parent.joinpath('data', 'rate.txt').read_text()"),
    "resolve": (PATHS, "(pathlib.Path(__file__).resolve().parent / 'rate.txt').read_text()"),
    "parents": (PATHS, "(Path(__file__).absolute().parents[0] / 'rate.txt').read_text()"),
    "a name for the folder": (
        PATHS + "HERE = Path(__file__).parent\nFILE = HERE / 'rate.txt'\n",
        "FILE.read_text()",
    ),
    "a name for the file's name": (
        PATHS + "NAME = 'rate.txt'\n",
        "(Path(__file__).parent / NAME).read_text()",
    ),
    "a loop over names": (
        PATHS,
        "[Path(__file__).with_name(n).read_text() for n in ('rate.txt',)][0]",
    ),
    "a formatted name": (PATHS, "open(f'{Path(__file__).parent}/rate.txt').read()"),
    "os.path": (PATHS, "open(os.path.join(os.path.dirname(__file__), 'rate.txt')).read()"),
    "os.path by its names": (PATHS, "open(join(dirname(__file__), 'rate.txt')).read()"),
    "texts put together": (PATHS, "open(os.path.dirname(__file__) + '/rate.txt').read()"),
    "beside another module": (PATHS, "Path(pkg.fees.__file__).with_name('rate.txt').read_text()"),
    "files and a slash": (RESOURCES, "(resources.files('pkg') / 'rate.txt').read_text()"),
    "files and joinpath": (
        RESOURCES,
        "importlib.resources.files('pkg').joinpath('rate.txt').read_text()",
    ),
    "files of a module": (RESOURCES, "resources.files(pkg).joinpath('rate.txt').read_text()"),
    "read_text": (RESOURCES, "resources.read_text('pkg', 'rate.txt')"),
    "open_text": (RESOURCES, "resources.open_text(pkg, 'rate.txt').read()"),
    "read_binary": (RESOURCES, "resources.read_binary('pkg', 'rate.txt')"),
    "get_data": (RESOURCES, "pkgutil.get_data('pkg', 'rate.txt')"),
}


def answers(bench, head, body, files):
    """Return the answers before and after the change, and after it was taken back."""
    found = []
    for value in (1, 2, 1):
        for name, text in files.items():
            bench.write(name, text.replace("{value}", str(value)))
        if not found:
            bench.experiment("helped", f"return {{'fee': int({body})}}", head=head)
        performed = bench.run("helped")
        found.append((performed.manifest.metrics["fee"], performed.is_cached))
    return found


@pytest.mark.parametrize("way", CODE)
def test_a_changed_helper_is_a_miss_and_the_new_answer(bench, way):
    head, body, files = CODE[way]

    assert answers(bench, head, body, {**PACKAGE, **files}) == [(1, False), (2, False), (1, True)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("way", DATA)
def test_a_changed_data_file_is_a_miss_and_the_new_answer(bench, way):
    head, body = DATA[way]

    assert answers(bench, head, body, {**PACKAGE, **TEXT}) == [(1, False), (2, False), (1, True)]


def test_a_data_file_of_a_helper_travels_too(bench):
    helper = "from pathlib import Path\n\n\ndef fee():\n" + (
        "    return Path(__file__).with_name('rate.txt').read_text()\n"
    )
    files = {"sub/__init__.py": "", "sub/fees.py": helper, "sub/rate.txt": "{value}"}

    found = answers(bench, "from sub.fees import fee", "fee()", files)

    assert found == [(1, False), (2, False), (1, True)]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("(Path(__file__).parent / ('ra' + spec.name)).read_text()", "rate.txt"),
        ("(Path(__file__).parent / 'data' / spec.description).read_text()", "data/rate.txt"),
    ],
)
def test_a_file_whose_name_is_computed_is_missed_with_the_line_to_add(bench, body, name):
    bench.write(name, "1")
    bench.experiment(
        "computed",
        f"return {{'a': {body}}}",
        head="from pathlib import Path",
        spec="name='te.txt', description='rate.txt'",
    )
    failed = bench.failure("computed")

    assert failed.error["kind"] == "FileNotFoundError"
    assert f"declare include=[{name!r}]" in failed.error["message"]

    bench.experiment(
        "computed",
        f"return {{'a': {body}}}",
        head="from pathlib import Path",
        spec=f"name='te.txt', description='rate.txt', include=[{name!r}]",
    )
    assert bench.run("computed").manifest.metrics == {"a": "1"}


def test_a_module_whose_name_is_computed_is_missed_with_the_line_to_add(bench):
    bench.write("fees.py", "FEE = 1\n")
    bench.experiment("computed", "return {'a': __import__('fe' + 'es').FEE}")

    failed = bench.failure("computed")

    assert failed.error["kind"] == "ModuleNotFoundError"
    assert "declare a computed import in include" in failed.error["message"]


def test_a_file_that_is_written_is_not_taken_for_one_that_is_read(bench, tmp_path):
    bench.experiment(
        "writes",
        "(output_dir / 'rate.txt').write_text('3')\nreturn {}",
        head="from pathlib import Path\nHERE = Path(__file__).parent\nNONE = HERE / 'absent.txt'\n"
        "UP = HERE.parent / 'outside.txt'",
    )
    (bench.context.experiments_folder.parent / "outside.txt").write_text("1")

    before = bench.fingerprint("writes")
    bench.write("rate.txt", "2")
    (bench.context.experiments_folder.parent / "outside.txt").write_text("2")

    assert bench.fingerprint("writes") == before
    assert bench.run("writes").manifest.metrics == {}


def test_a_circle_of_names_ends(bench):
    bench.write("rate.txt", "1")
    circle = "\n".join(
        f"HERE = HERE / '{n}'\nHERE = HERE.parent\nT = T + f'{{T}}{{T}}'" for n in "abc" * 30
    )
    bench.experiment(
        "turns", head=f"from pathlib import Path\nT = ''\nHERE = Path(__file__)\n{circle}"
    )

    assert bench.fingerprint("turns")
