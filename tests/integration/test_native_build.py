"""The native hot path is in the wheel where it could be compiled, and nothing else depends on that."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
TAG = f"cp{sys.version_info.major}{sys.version_info.minor}"
CAN_COMPILE = (
    shutil.which(shlex.split(sysconfig.get_config_var("CC") or "cc")[0]) is not None
    and Path(sysconfig.get_path("include"), "Python.h").exists()
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
COMPILERS = {
    "compiler": pytest.param(None, marks=pytest.mark.skipif(not CAN_COMPILE, reason="no C compiler or no Python.h")),
    "none": "/nowhere/cc",
    "failing": "false",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """What a source distribution holds, as far as a build looks at it."""
    place = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, place / name)
    leave = shutil.ignore_patterns("__pycache__", "*.so", "page")
    shutil.copytree(ROOT / "src", place / "src", ignore=leave)
    return place


def build(project, to, kind, compiler):
    to.mkdir()
    env = {name: value for name, value in os.environ.items() if name not in {"CC", "CFLAGS"}}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; from hatchling.build import {kind}; print({kind}(sys.argv[1]))", str(to)],
        cwd=project, env=env | ({"CC": compiler} if compiler else {}), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = to.iterdir()
    assert wheel.name == done.stdout.split()[-1]
    return wheel, done.stderr + done.stdout


@pytest.mark.parametrize("compiler", COMPILERS.values(), ids=COMPILERS)
def test_a_wheel_says_what_is_in_it(project, tmp_path, compiler):
    wheel, said = build(project, tmp_path / "dist", "build_wheel", compiler)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    native = [name for name in names if "_native" in name]
    if compiler is None:
        assert native == [f"steno/journal/_native{SUFFIX}"]
        assert f"-{TAG}-{TAG}-linux_" in wheel.name
        assert "not compiled" not in said
    else:
        assert native == []
        assert wheel.name.endswith("-py3-none-any.whl")
        assert "not compiled" in said
    code = "import steno, steno.journal.native as native; print(steno.__file__, native.health())"
    env = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "STENO_NATIVE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert ("'on': True" in done.stdout) == (compiler is None)
    assert ("was not built" in done.stdout) == (compiler is not None)


@pytest.mark.parametrize("compiler", COMPILERS.values(), ids=COMPILERS)
def test_an_editable_install_has_the_module_beside_its_source(project, tmp_path, compiler):
    module = project / f"src/steno/journal/_native{SUFFIX}"
    module.unlink(missing_ok=True)
    wheel, _ = build(project, tmp_path / "dist", "build_editable", compiler)
    assert module.exists() == (compiler is None)
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
    # One that lies there from before is in no wheel that was built without.
    module.write_bytes(b"stale")
    wheel, _ = build(project, tmp_path / "again", "build_wheel", "false")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith((".so", ".c"))]
    module.unlink()
