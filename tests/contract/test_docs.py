"""The documentation is complete, and its examples run."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import steno
from steno import settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SKIP = re.compile(r"<!-- not run: (?P<reason>.*?) -->")


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    code: str
    reason: str | None

    @property
    def name(self):
        return f"{self.page.name}:{self.line}"


def blocks():
    for page in PAGES:
        lines = page.read_text().splitlines()
        start = None
        for number, text in enumerate(lines):
            if start is None and text.strip() == "```python":
                start = number
            elif start is not None and text.strip() == "```":
                above = next((line for line in reversed(lines[:start]) if line.strip()), "")
                skip = SKIP.search(above)
                yield Block(page, start + 2, "\n".join(lines[start + 1 : number]) + "\n", skip and skip["reason"])
                start = None
        assert start is None, f"{page}: a code block is not closed"


BLOCKS = list(blocks())


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.reason is None], ids=lambda block: block.name)
def test_example_runs(block, tmp_path):
    """Each Python block runs by itself as a program in an empty directory, without a warning."""
    script = tmp_path / "example.py"
    script.write_text(block.code)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STENO_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        check=False,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{block.page}, line {block.line}:\n{done.stdout}{done.stderr}"


def test_a_block_that_is_not_run_has_a_reason():
    assert BLOCKS
    for block in BLOCKS:
        assert block.reason is None or len(block.reason) > 10, block.name


def test_readme_has_a_running_example():
    assert any(block.page.name == "README.md" and block.reason is None for block in BLOCKS)


def test_every_command_is_documented():
    from steno.cli.commands import app_for

    page = (ROOT / "docs" / "cli.md").read_text()
    for command in app_for([]).registered_commands:
        assert f"| `steno {command.name}" in page, f"docs/cli.md has no row for steno {command.name}"


def test_every_option_is_documented():
    import typer

    from steno.cli.commands import app_for

    page = (ROOT / "docs" / "cli.md").read_text()
    for name, command in typer.main.get_command(app_for([])).commands.items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `steno {name}"))
        for parameter in command.params:
            for option in parameter.opts:
                # --dir and --help are the same everywhere, and told above the table.
                if option.startswith("--") and option not in {"--dir", "--help"}:
                    assert option in row, f"docs/cli.md does not mention {option} of steno {name}"


def test_every_documented_command_exists():
    from steno.cli.commands import app_for

    names = {command.name for command in app_for([]).registered_commands}
    for page in PAGES:
        for name in re.findall(r"^    steno ([a-z]+)", page.read_text(), re.MULTILINE):
            assert name in names, f"{page.name} shows steno {name}"


def default_of(setting):
    """The default of a setting as docs/settings.md writes it."""
    default = setting.metadata["default"]
    if setting.metadata["unset"]:
        return setting.metadata["unset"]
    if isinstance(default, bool):
        return "on" if default else "off"
    return f"{default:g}" if isinstance(default, float) else str(default)


def test_every_setting_is_documented_as_the_schema_has_it():
    rows = [
        f"| `{one.name}` | `{settings.variable(one.name)}` | {one.metadata['kind'].needed} | {default_of(one)} "
        f"| {one.metadata['meaning']} |"
        for one in dataclasses.fields(steno.Settings)
    ]
    page = (ROOT / "docs" / "settings.md").read_text().splitlines()
    assert [line for line in page if line.startswith("| `") and line.count(" | ") == 4] == rows


def test_every_other_environment_variable_is_documented():
    page = (ROOT / "docs" / "settings.md").read_text().splitlines()
    rows = [f"| `{name}` | {meaning} |" for name, meaning in settings.VARIABLES.items()]
    assert [line for line in page if line.startswith("| `STENO_")] == rows


def test_every_documented_environment_variable_is_read():
    for page in PAGES:
        for name in re.findall(r"`(STENO_[A-Z_]+)`", page.read_text()):
            assert name in settings.meanings(), f"{page.name} names {name}, which nothing reads"


def test_init_has_no_more_than_eighteen_parameters_and_one_page_names_them_all():
    names = list(inspect.signature(steno.init).parameters)
    assert len(names) <= 18
    assert not set(names) & {one.name for one in dataclasses.fields(steno.Settings)}
    assert f"`steno.init({', '.join(names)})`" in (ROOT / "docs" / "index.md").read_text()


def test_nothing_reads_a_variable_of_ours_past_the_schema():
    for path in (ROOT / "src" / "steno").rglob("*.py"):
        found = re.findall(r"(?:environ\.get|getenv)\(\s*[\"']STENO_", path.read_text())
        assert not found or path.name == "settings.py", path


def test_every_public_name_is_documented():
    pages = (ROOT / "README.md").read_text() + (ROOT / "docs" / "index.md").read_text()
    for name in steno.__all__:
        assert re.search(rf"\bsteno\.{re.escape(name)}\b", pages), (
            f"steno.{name} is in neither README.md nor docs/index.md"
        )


@pytest.mark.parametrize(
    "module", ["destinations", "types", "compat.composer", "compat.nlsq", "compat.tensorboardx", "compat.torchrl"]
)
def test_every_name_of_a_public_module_is_documented(module):
    page = (ROOT / "docs" / "index.md").read_text()
    assert f"`steno.{module}`" in page
    for name in importlib.import_module(f"steno.{module}").__all__:
        assert re.search(rf"`(steno\.)?{name}\b", page), f"{name} of steno.{module} is not in docs/index.md"


def test_every_documented_public_name_exists():
    for page in PAGES:
        for name in re.findall(r"`steno\.([A-Za-z_]\w*)", page.read_text()):
            there = hasattr(steno, name) or any((ROOT / "src/steno" / end).exists() for end in (name, f"{name}.py"))
            assert there, f"{page.name} names steno.{name}"


def test_links_lead_somewhere():
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def anchors(page):
    """What may stand after a # of a link to this page, as the site makes it of the headings."""
    code = False
    for line in page.read_text().splitlines():
        code ^= line.startswith("```")
        if line.startswith("#") and not code:
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line.lstrip("#"))
            yield re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


def test_pages_have_no_words_of_our_own_for_common_things():
    """Phrases that readers stumbled over; a road is one only where it is an option's name or a fixture's."""
    private = re.compile(r"\b(whoever|heard is|stands? aside|told in|better pace)\b|(?<![-`])\broads?\b", re.IGNORECASE)
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for number, line in enumerate(page.read_text().splitlines(), 1):
            found = private.search(line)
            assert not found, f"{page.name}:{number}: {found[0]!r}"


def test_links_into_pages_lead_to_a_heading():
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", page.read_text()):
            there = page.parent / target if target else page
            assert anchor in set(anchors(there)), f"{page.name} links to {target}#{anchor}"


def test_the_site_has_every_page_and_links_to_nothing_outside():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = re.findall(r"[\w/-]+\.md", nav)
    assert sorted(listed) == sorted(str(page.relative_to(ROOT / "docs")) for page in PAGES[1:])
    for page in PAGES[1:]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).resolve().is_relative_to(ROOT / "docs"), f"{page.name}: {target}"


def test_the_reference_has_every_public_name():
    made = set(re.findall(r"^::: steno\.([\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE))
    kept = {"__version__", "config", "summary"}  # values, which have no docstring
    elsewhere = {f"{home.removeprefix('steno.')}.{name}" for home, names in steno._ELSEWHERE.items() for name in names}
    assert made - {"torch", "jax", "types"} == {*steno.__all__, *elsewhere} - kept


def test_the_tree_in_architecture_is_the_tree():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    for path in (ROOT / "src" / "steno").iterdir():
        if path.name not in {"__pycache__", "py.typed"}:
            name = f"{path.name}/" if path.is_dir() else path.name
            assert re.search(rf"(^|\s){re.escape(name)}(\s|$)", page), f"ARCHITECTURE.md does not show {name}"
