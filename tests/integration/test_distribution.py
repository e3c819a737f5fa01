"""The distribution is `stenolog`; a program of another's, `steno`, that shares its folder is named."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

import steno
from steno import distribution

ROOT = Path(__file__).resolve().parents[2]


def wheel(to: Path, name: str, version: str, files: dict[str, bytes], more: dict[str, str] | None = None) -> Path:
    """A wheel as a build tool would make it."""
    path = to / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    all_files = {
        **files,
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        **{f"{about}/{name}": text.encode() for name, text in (more or {}).items()},
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}\n"
        for name, data in all_files.items()
    )
    with zipfile.ZipFile(path, "w") as archive:
        for inside, data in all_files.items():
            archive.writestr(inside, data)
        archive.writestr(f"{about}/RECORD", f"{record}{about}/RECORD,,\n")
    return path


@pytest.fixture
def place(tmp_path):
    """An environment of its own, which borrows our dependencies; `install` and `python` work in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    (site,) = (tmp_path / "env/lib").glob("python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    sources = {
        path.relative_to(ROOT / "src").as_posix(): path.read_bytes() for path in (ROOT / "src/steno").rglob("*.py")
    }
    console = "".join(f"{name} = {target}\n" for name, target in project["scripts"].items())
    ours = wheel(
        tmp_path, project["name"], project["version"], sources, {"entry_points.txt": f"[console_scripts]\n{console}"}
    )
    theirs = wheel(
        tmp_path,
        "Steno",
        "0.1b3",
        {"steno/__init__.py": b"raise SystemExit('a listening trainer')\n", "steno/player.py": b""},
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith(("STENO_", "PYTHON", "PIP_"))}

    class Place:
        folder = site

        def install(self, *wheels: Path) -> None:
            pip = [sys.executable, "-m", "pip", "--python", tmp_path / "env/bin/python", "install", "--quiet"]
            more = ["--no-index", "--no-deps", "--disable-pip-version-check", *wheels]
            subprocess.run([*pip, *more], check=True, env=env, cwd=tmp_path)

        def run(self, *command: str) -> subprocess.CompletedProcess:
            bin_dir = tmp_path / "env/bin"
            return subprocess.run(
                [bin_dir / command[0], *command[1:]], capture_output=True, text=True, env=env, cwd=tmp_path, timeout=60
            )

    found = Place()
    found.ours, found.theirs = ours, theirs
    return found


def test_stenolog_alone_says_nothing(place):
    place.install(place.ours)
    found = place.run("python", "-W", "error", "-c", "import steno; print(steno.__version__)")
    assert (found.stdout, found.stderr) == (f"{steno.__version__}\n", "")


def test_the_strangers_files_in_our_folder_are_said_once_by_import_and_by_the_doctor(place):
    place.install(place.theirs)
    place.install(place.ours)
    (place.folder.parents[2] / "program.py").write_text("import os\nimport steno\nimport steno.record\n")
    found = place.run("python", str(place.folder.parents[2] / "program.py"))
    assert found.returncode == 0
    assert found.stderr.count("'Steno 0.1b3'") == 1, found.stderr
    assert "program.py:2: RuntimeWarning" in found.stderr
    assert "pip install --force-reinstall --no-deps stenolog" in found.stderr
    doctor = place.run("steno", "doctor")
    assert doctor.returncode == 0, doctor.stderr
    assert "→ the distribution 'Steno 0.1b3' is another program" in doctor.stdout
    data = json.loads(place.run("steno", "doctor", "--json").stdout)
    assert data["strangers"] == ["Steno 0.1b3"]


def test_what_has_no_file_in_our_folder_is_no_matter(tmp_path):
    (tmp_path / "steno").mkdir()
    for name, listed in (("steno-2.0.dist-info", "../../bin/steno,,\n"), ("steno_tools-1.dist-info", "steno/x.py,,\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "RECORD").write_text(listed)
    (tmp_path / "steno-3.dist-info").write_text("a file, not a directory")
    assert distribution.strangers(str(tmp_path / "steno")) == []


@pytest.mark.parametrize(
    ("metadata", "file", "line"),
    [
        ("steno-2.0.dist-info", "RECORD", "steno/__init__.py,sha256=x,1\n"),
        ("Steno-0.1b3-py3.11.egg-info", "installed-files.txt", "../steno/__init__.py\n"),
        ("STENO-9.egg-info", "SOURCES.txt", "setup.py\nsteno/player.py\n"),
    ],
)
def test_all_kinds_of_metadata_are_read(tmp_path, metadata, file, line):
    (tmp_path / "steno").mkdir()
    (tmp_path / metadata).mkdir()
    (tmp_path / metadata / file).write_text(line)
    assert distribution.strangers(str(tmp_path / "steno")) == [metadata.rpartition(".")[0].replace("-", " ")]


def test_looking_costs_the_import_less_than_a_millisecond(tmp_path):
    """Beside 1,000 other packages."""
    (tmp_path / "steno").mkdir()
    for number in range(1000):
        (tmp_path / f"package_{number}").mkdir()
        (tmp_path / f"package_{number}-1.0.dist-info").mkdir()
    code = (
        "import steno, time; steno.__path__[0] = 'steno'\ncosts = []\nfor _ in range(50):\n"
        " begun = time.perf_counter(); steno._look_for_another(); costs.append(time.perf_counter() - begun)\nprint(min(costs))"
    )
    code = code.replace("'steno'\n", repr(str(tmp_path / "steno")) + "\n")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(found.stdout) < 0.001
