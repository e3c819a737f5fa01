"""Compiles the native hot path into the wheel, if it can be compiled; without it the wheel is one of pure Python."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/steno/journal/_native.c")
FLAGS = ("-O2", "-fPIC", "-fno-plt", "-fvisibility=hidden", "-shared")


def compiled(root: Path, directory: Path) -> Path:
    """The module for this interpreter, made in a directory. Raises OSError, subprocess.CalledProcessError."""
    found = sysconfig.get_config_vars()
    if found.get("Py_GIL_DISABLED") or sys.implementation.name != "cpython" or sys.platform != "linux":
        raise OSError("it is for CPython with its GIL on Linux")
    module = directory / f"_native{found['EXT_SUFFIX']}"
    includes = [f"-I{sysconfig.get_path(name)}" for name in ("include", "platinclude")]
    made = module.with_suffix(".new")
    compiler = shlex.split(os.environ.get("CC") or found.get("CC") or "cc")
    flags = [*FLAGS, *shlex.split(os.environ.get("CFLAGS", "")), *includes]
    command = [*compiler, *flags, str(root / SOURCE), "-o", str(made)]
    subprocess.run(command, check=True)
    made.replace(module)
    return module


class Hook(BuildHookInterface):  # type: ignore[type-arg]
    """An editable install gets the module beside its source."""

    _made: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the module, and the tag of the interpreter that it is for, if it can be compiled."""
        root = Path(self.root)
        place = (root / SOURCE).parent if version == "editable" else Path(self.directory)
        try:
            place.mkdir(parents=True, exist_ok=True)
            module = compiled(root, place)
        except (OSError, subprocess.CalledProcessError) as why:
            self.app.display_warning(f"steno's native hot path was not compiled, Python's is taken: {why}")
            return
        build_data["infer_tag"] = True
        build_data["pure_python"] = False
        if version != "editable":
            build_data["force_include"][str(module)] = f"steno/journal/{module.name}"
            self._made = module

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Take away what now lies in the wheel."""
        if self._made is not None:
            self._made.unlink(missing_ok=True)
