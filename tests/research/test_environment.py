"""The environment: what of the machine is in a fingerprint, and what is not."""

import json
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from research.errors import BadInput, ForbiddenImport
from research.experiments import environment

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
RECORD = """\
pkg/__init__.py,sha256=AAA,10
pkg/module.py,sha256=BBB,20
"pkg/with, comma.py",sha256=CCC,5
pkg-1.0.dist-info/METADATA,sha256=DDD,30
pkg-1.0.dist-info/WHEEL,sha256=EEE,40
"""
OF_THE_MACHINE = """\
pkg/__pycache__/module.cpython-311.pyc,,
pkg-1.0.dist-info/RECORD,,
pkg-1.0.dist-info/INSTALLER,sha256=FFF,4
pkg-1.0.dist-info/REQUESTED,sha256=GGG,0
pkg-1.0.dist-info/direct_url.json,sha256=HHH,99
../../../bin/pkg,sha256=III,211
/usr/share/doc/pkg,sha256=JJJ,1
"""


def install(folder: Path, name="pkg", version="1.0", record=RECORD, requires=()) -> Path:
    """Write what an installer writes of a distribution."""
    info = folder / f"{name.replace('-', '_').replace('.', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = "".join(f"Requires-Dist: {each}\n" for each in requires)
    (info / "METADATA").write_text(METADATA.format(name=name, version=version) + lines)
    (info / "RECORD").write_text(record)
    return info


def content(folder: Path, record: str) -> str:
    return environment.record_hash_of(PathDistribution(install(folder, record=record)))


def test_the_content_is_what_is_installed_not_where_or_by_whom(tmp_path):
    plain = content(tmp_path / "a", RECORD)
    lines = (RECORD + OF_THE_MACHINE).splitlines()

    assert content(tmp_path / "b", "\n".join(reversed(lines)) + "\n") == plain
    assert content(tmp_path / "c", RECORD.replace("\n", "\r\n")) == plain


@pytest.mark.parametrize(
    "changed",
    [
        RECORD.replace("AAA", "AAB"),
        RECORD.replace("module.py", "other.py"),
        RECORD + "pkg/more.py,sha256=KKK,1\n",
        RECORD.replace("EEE", "EEF"),
        "",
    ],
)
def test_other_content_of_the_same_version_is_other_content(tmp_path, changed):
    assert content(tmp_path / "a", RECORD) != content(tmp_path / "b", changed)


def test_a_distribution_without_a_record_is_hashed_by_its_files(tmp_path):
    def hashed(where: str, text: str) -> str:
        info = install(tmp_path / where)
        (info / "RECORD").unlink()
        (info / "top_level.txt").write_text("pkg\n")
        (tmp_path / where / "pkg").mkdir()
        (tmp_path / where / "pkg" / "__init__.py").write_text(text)
        return environment.record_hash_of(PathDistribution(info))

    assert hashed("a", "A = 1") == hashed("b", "A = 1")
    assert hashed("c", "A = 1") != hashed("d", "A = 2")


def test_another_version_is_another_question(bench, tmp_path, monkeypatch):
    bench.experiment("uses", "import yaml\nreturn {}")
    bench.experiment("spares", "return {}", head="import json, math")
    questions = ("uses", "spares", "sma_crossover")
    asked = [{name: bench.fingerprint(name) for name in questions}]
    for number, (name, module) in enumerate([("PyYAML", "yaml"), ("numpy", "numpy")]):
        install(tmp_path / str(number), name, "99.9", f"{module}/__init__.py,sha256=AAA,1\n")
        monkeypatch.syspath_prepend(str(tmp_path / str(number)))
        asked.append({name: bench.fingerprint(name) for name in questions})

    before, other_yaml, other_numpy = asked
    assert {name for name in questions if before[name] != other_yaml[name]} == {"uses"}
    # What travels in every code tree may use numpy.
    assert not set(other_yaml.values()) & set(other_numpy.values())


def test_what_a_distribution_requires_is_in_the_environment_too(tmp_path, monkeypatch):
    site = tmp_path / "site"
    needs = ["low_er>=1", "absent; python_version<'3'", "extra-one; extra == 'more'"]
    install(site, "Up.per", "1", "upper_module/__init__.py,sha256=A,1\n", needs)
    install(site, "low-er", "2", "lower.py,sha256=A,1\n")
    install(site, "extra-one", "3", "extra_one.py,sha256=A,1\n")
    monkeypatch.syspath_prepend(str(site))

    found = environment.describe({"upper_module"})["distributions"]

    assert {name: each["version"] for name, each in found.items()} == {"up-per": "1", "low-er": "2"}
    assert environment.describe({"nothing_provides_this"})["distributions"] == {}


def test_two_environments_are_told_apart_in_words(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    info = install(tmp_path / "site")
    recorded = environment.describe({"pkg"})
    assert environment.differences(recorded, environment.describe_again(recorded)) == []

    (info / "RECORD").write_text(RECORD.replace("AAA", "AAB"))
    assert environment.differences(recorded, environment.describe_again(recorded)) == [
        "pkg: 1.0, with other content"
    ]
    (info / "METADATA").write_text(METADATA.format(name="pkg", version="2.0"))
    assert environment.differences(recorded, environment.describe_again(recorded)) == [
        "pkg: 1.0 then, 2.0 now"
    ]
    for path in info.iterdir():
        path.unlink()
    info.rmdir()
    present = {**environment.describe_again(recorded), "system": "plan9"}
    assert environment.differences(recorded, present) == [
        f"system: {recorded['system']} then, plan9 now",
        "pkg: 1.0 then, absent now",
    ]


def test_paths_times_and_cores_are_not_in_the_environment(finished):
    recorded = finished.manifest(finished.store.resolve("sma")).recipe.fields["environment"]

    assert set(recorded) == {
        "python", "implementation", "system", "libc", "machine", "instructions", "variables", "distributions",
    }  # fmt: skip
    assert recorded["variables"] == {
        "LC_ALL": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0",
        **dict.fromkeys((f"{name}_NUM_THREADS" for name in ("MKL", "NUMEXPR", "OMP", "OPENBLAS")), "1"),
    }  # fmt: skip
    assert list(recorded["distributions"]) == ["numpy"]
    assert str(Path.home()) not in repr(recorded)
    assert str(finished.folder) not in repr(finished.manifest(finished.store.resolve("sma")).recipe)


def test_a_compiler_that_changes_no_bit_is_no_part_of_the_question():
    assert environment.describe({"numpy", "numba"}) == environment.describe({"numpy"})
    assert "numba" not in environment.describe({"numba"})["distributions"]
    assert environment.unforeseen(environment.describe(set()), {"numba", "llvmlite"}) == []


def install_in_place(site: Path, folder: Path, name: str, *, by: str) -> Path:
    """Write what an installer writes of a package that stays where it is; return its folder."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"from {name}.rates import RATE\n")
    (package / "rates.py").write_text("RATE = 1\n")
    hook, text = f"__editable__.{name}.pth", f"{folder}\n"
    if by == "finder":
        hook = f"__editable___{name}_finder.py"
        text = f"MAPPING: dict[str, str] = {{{name!r}: {str(package)!r}}}\n"
    info = install(site, name, record=f"{hook},sha256=AAA,1\n")
    (site / hook).write_text(text)
    (info / "top_level.txt").write_text(f"{name}\n")
    described = {"url": folder.as_uri(), "dir_info": {"editable": True}}
    (info / "direct_url.json").write_text(json.dumps(described))
    return package


@pytest.fixture(params=["path", "finder"])
def in_place(request, bench, tmp_path, monkeypatch):
    """Give a package installed in place that an experiment uses."""
    package = install_in_place(tmp_path / "site", tmp_path / "my work", "mine", by=request.param)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    # As the hook does when the interpreter starts.
    monkeypatch.syspath_prepend(str(package.parent))
    bench.experiment("uses", "return {'rate': mine.RATE}", head="import mine")
    return package


def test_a_package_in_place_is_recorded_by_its_files_and_travels(bench, in_place):
    first = bench.run("uses").manifest
    recorded = first.recipe.fields["environment"]["distributions"]["mine"]
    (in_place / "rates.py").write_text("RATE = 2\n")

    second = bench.run("uses")

    assert (second.is_cached, second.manifest.metrics) == (False, {"rate": 2})
    described = second.manifest.recipe.fields["environment"]["distributions"]["mine"]
    assert (recorded["version"], described["version"]) == ("1.0", "1.0")
    assert recorded["record_hash"] != described["record_hash"]
    code = bench.store.get_tree(first.recipe.links["code"])
    assert sorted(bench.store.get_tree(code["mine"].link)) == ["__init__.py", "rates.py"]


@pytest.mark.parametrize("name", ["data.txt", "later.py", "deep/more.json"])
def test_any_file_of_a_package_in_place_counts(bench, in_place, name):
    before = bench.fingerprint("uses")
    (in_place / name).parent.mkdir(exist_ok=True)
    (in_place / name).write_text("1")
    after = bench.fingerprint("uses")

    assert after != before
    (in_place / "__pycache__").mkdir()
    (in_place / "__pycache__" / "rates.cpython-311.pyc").write_bytes(b"1")
    (in_place / ".notes").write_text("1")
    assert bench.fingerprint("uses") == after


def test_what_a_package_in_place_imports_is_followed(bench, in_place):
    (in_place / "rates.py").write_text("import yaml\nRATE = 1\n")

    recipe = bench.run("uses").manifest.recipe

    assert {"mine", "pyyaml"} <= set(recipe.fields["environment"]["distributions"])
    (in_place / "rates.py").write_text("def f():\n    import ccxt\n")
    with pytest.raises(ForbiddenImport, match=r"rates\.py, line 2"):
        bench.run("uses")


def test_a_module_that_no_distribution_lists_is_refused_by_name(bench, tmp_path, monkeypatch):
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "stray.py").write_text("RATE = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path / "loose"))
    bench.experiment("uses", "return {'rate': stray.RATE}", head="import stray")

    with pytest.raises(BadInput, match="'stray' is importable here, but no installed distribution"):
        bench.run("uses")
