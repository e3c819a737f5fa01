"""The page in the package is what `ui/` gives: seen without Node, by the hashes that scripts/web left."""

from __future__ import annotations

import gzip
import json
import re
import runpy
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "src" / "steno" / "viewer" / "page"
web = runpy.run_path(str(ROOT / "scripts" / "web"))


def packed(paths):
    return sum(len(gzip.compress(path.read_bytes(), 9, mtime=0)) for path in paths)


def test_the_page_was_built_from_this_source():
    assert json.loads((PAGE / "BUILT").read_text()) == web["built"](PAGE), "ui/ or the page changed: run scripts/web"


def test_the_hash_sees_each_change(tmp_path):
    for name in ("package.json", "src/main.tsx", "test/a.test.ts"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("1")
    before = web["source_hash"](tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.js").write_text("1")
    assert web["source_hash"](tmp_path) == before
    (tmp_path / "src" / "main.tsx").write_text("2")
    changed = web["source_hash"](tmp_path)
    (tmp_path / "src" / "main.tsx").rename(tmp_path / "src" / "other.tsx")
    assert len({before, changed, web["source_hash"](tmp_path)}) == 3


def test_the_page_is_small():
    index = (PAGE / "index.html").read_text()
    first = [PAGE / "index.html", *(PAGE / name for name in re.findall(r'(?:src|href)="\./([^"]+)"', index))]
    assert {path.suffix for path in first} == {".html", ".js", ".css"}
    assert packed(first) <= 90_000
    assert packed(path for path in PAGE.iterdir() if path.suffix != ".txt") <= 200_000


def test_the_page_names_no_other_host():
    allowed = ("http://www.w3.org/",)  # names of namespaces, never fetched
    for path in PAGE.iterdir():
        if path.suffix in {".html", ".js", ".css"}:
            hosts = re.findall(r"""(?:https?:)?//[a-z0-9-]+(?:\.[a-z0-9-]+)+[^\s"'`)]*""", path.read_text())
            assert [one for one in hosts if not one.startswith(allowed)] == [], path.name


def test_all_addresses_of_the_page_are_relative():
    index = (PAGE / "index.html").read_text()
    for address in re.findall(r'(?:src|href)="([^"]+)"', index):
        assert address.startswith(("./", "data:")), address
    assert not re.search(r"""["'`]/api/""", (PAGE / "page.js").read_text())


def test_versions_are_exact_and_the_lock_names_no_host():
    manifest = json.loads((ROOT / "ui" / "package.json").read_text())
    for name, version in {**manifest["dependencies"], **manifest["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name}: {version}"
    lock = json.loads((ROOT / "ui" / "package-lock.json").read_text())
    for name, entry in lock["packages"].items():
        assert "resolved" not in entry, name
        if name:
            assert entry["integrity"].startswith("sha512-"), name


def test_each_bundled_package_has_its_licence():
    lock = json.loads((ROOT / "ui" / "package-lock.json").read_text())["packages"]
    text = (PAGE / "LICENCES.txt").read_text()
    wanted = [*lock[""]["dependencies"]]
    while wanted:
        name = wanted.pop()
        entry = lock[f"node_modules/{name}"]
        assert f"\n{name} {entry['version']} ({entry['license']})\n" in text
        wanted += entry.get("dependencies", {})


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    out = tmp_path_factory.mktemp("dist")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(out), versions=["standard"])
    (sdist,) = SdistBuilder(str(ROOT)).build(directory=str(out), versions=["standard"])
    return wheel, sdist


def test_wheel_and_sdist_have_the_page(distributions):
    wheel, sdist = distributions
    wanted = {path.name for path in PAGE.iterdir()}
    assert {"index.html", "page.js", "BUILT", "LICENCES.txt"} <= wanted
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert {name.rpartition("/")[2] for name in names if name.startswith("steno/viewer/page/")} == wanted
        assert archive.read("steno/viewer/page/page.js") == (PAGE / "page.js").read_bytes()
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
        assert {name.rpartition("/")[2] for name in names if "/src/steno/viewer/page/" in name} == wanted
        assert any(name.endswith("/ui/package-lock.json") for name in names)
        assert not any("node_modules" in name for name in names)


def test_the_first_page_is_one_script_that_a_file_can_hold():
    script = (PAGE / "page.js").read_text()
    assert not re.search(r"""\bfrom\s*["']\./|\bimport\s*["']""", script)
    assert "</script" not in script
