"""The documentation as a site that opens offline: ``python -m tools.site``.

Pages keep their places, so that links between them lead where they lead in the repository. The reference is written
from the code: commands and options as ``--help`` shows them, in a page and in JSON; functions and settings from their
docstrings; file formats from their JSON Schemas. A page that no chapter of ``CHAPTERS`` names stands under "More". The
exit status is 1 if a link leads nowhere, or if a page would load something from elsewhere.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer.main
import yaml
from typer.testing import CliRunner

import tumortrace
from tumortrace.cli import app

ROOT = Path(__file__).parent.parent
BUILD, SITE = ROOT / "build" / "site", ROOT / "site"
PAGES = BUILD / "pages"
REFERENCE = "reference"
CHAPTERS: dict[str, list[str] | dict[str, list[str]]] = {
    "Start here": ["README.md", "start"],
    "Guides": {
        "You have slices and annotations": ["data", "formats", "data_sources", "audits", "improve"],
        "You have scans": ["inference", "app"],
        "You build a pipeline": ["server", "scale"],
    },
    "Reference": [f"{REFERENCE}/{name}.md" for name in ("commands", "python", "files", "settings")],
    "Explanation": ["trust", "model", "metrics", "design", "reliability"],
    "Results": ["results/*", "paper", "reproduce", "dataset_cards", "MODEL_CARD.md", "checklist"],
    "Decisions": ["decisions/README", "decisions/0*"],
    "More": [],
}
"""Chapters with their pages: a path, or the name of a page in docs/; ``*`` stands for all in a folder."""

ASSETS = Path(__file__).parent / "site_assets"
SHIM, STYLE = ASSETS / "iframe-worker.js", ASSETS / "style.css"
THEIR_SHIM = re.compile(r'"https?://[^"]+/iframe-worker/shim"')
UNBROKEN = re.compile(r"\([-+\d][^()|]* to [^()|]*\)|\d %")
LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)")
LOADED = re.compile(r"""<(?:script|img|iframe|source)[^>]+src=["']?https?:|<link[^>]+rel=["']?stylesheet[^>]+https?:""")


def main() -> int:
    """Build the site; return the exit status."""
    shutil.rmtree(BUILD, ignore_errors=True)
    gather_pages()
    write_reference(PAGES / REFERENCE)
    settings = {"INHERIT": str(ROOT / "mkdocs.yml"), "docs_dir": str(PAGES), "site_dir": str(SITE), "nav": make_nav()}
    shutil.copyfile(STYLE, PAGES / STYLE.name)
    settings["extra_css"] = [STYLE.name]
    config = BUILD / "mkdocs.yml"
    config.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file", str(config)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    if done.returncode == 0:
        keep_search_local(SITE)
    return done.returncode or report_loads(SITE)


def gather_pages() -> None:
    """Copy the pages and all files of the repository that they link to into the places that they have there."""
    waiting = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docs" / "schemas").glob("*.json")]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop().resolve()
        if path in seen or not path.is_file() or not path.is_relative_to(ROOT):
            continue
        seen.add(path)
        target = PAGES / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".md":
            shutil.copyfile(path, target)
            continue
        text = path.read_text(encoding="utf-8")
        target.write_text(keep_numbers_whole(text), encoding="utf-8")
        waiting += [path.parent / link for link in LINK.findall(text)]


def keep_numbers_whole(text: str) -> str:
    """Return a page whose tables break no line within an interval, as in ``0.87 (0.81 to 0.90)``, or before a ``%``."""
    lines = text.splitlines(keepends=True)
    return "".join(UNBROKEN.sub(_join, line) if line[:1] == "|" else line for line in lines)


def _join(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\N{NO-BREAK SPACE}")


def write_reference(folder: Path) -> None:
    """Write the pages that are made from the code, and ``commands.json``."""
    folder.mkdir(parents=True)
    commands = describe_commands()
    (folder / "commands.json").write_text(json.dumps(commands, indent=2) + "\n", encoding="utf-8")
    (folder / "commands.md").write_text(write_commands(commands), encoding="utf-8")
    names = "".join(f"::: {home}.{name}\n\n" for name, home in sorted(tumortrace._HOME.items()))  # noqa: SLF001
    python = f"# Python\n\nAll of these are names of `tumortrace` itself.\n\n{names}"
    (folder / "python.md").write_text(python, encoding="utf-8")
    (folder / "settings.md").write_text("# Settings\n\n::: tumortrace.config\n", encoding="utf-8")
    (folder / "files.md").write_text(write_files(), encoding="utf-8")


def describe_commands() -> dict[str, Any]:
    """Return the commands with their arguments and options, as JSON values."""
    group = typer.main.get_command(app)
    commands = group.commands  # type: ignore[attr-defined] # a group has commands
    return {
        "program": "tumortrace",
        "version": tumortrace.__version__,
        "commands": {name: describe_command(name, command) for name, command in commands.items()},
    }


def describe_command(name: str, command: Any) -> dict[str, Any]:  # noqa: ANN401 - a command of click
    """Return one command: what it does, its parameters, and the text of its ``--help``."""
    parameters = [
        {
            "names": [*parameter.opts, *parameter.secondary_opts],
            "kind": parameter.param_type_name,
            "metavar": parameter.metavar or "",
            "required": parameter.required,
            "repeatable": parameter.multiple or parameter.nargs == -1,
            "help": getattr(parameter, "help", None) or "",
        }
        for parameter in command.params
    ]
    shown = CliRunner().invoke(app, [name, "--help"], terminal_width=78).output
    return {"summary": (command.help or "").partition("\n")[0], "parameters": parameters, "help": shown}


def write_commands(document: dict[str, Any]) -> str:
    """Return the page of the command line."""
    lines = ["# Command line", "", "The same in JSON: [commands.json](commands.json).", ""]
    for name, command in document["commands"].items():
        lines += [f"## {name}", "", command["summary"], "", "```text", command["help"].strip(), "```", ""]
    return "\n".join(lines)


def write_files() -> str:
    """Return the page of the file formats that have a JSON Schema."""
    lines = ["# Files", "", "Formats that tumortrace reads: [formats](../docs/formats.md). What it writes:", ""]
    lines += ["| file | content | schema |", "|---|---|---|"]
    for path in sorted((ROOT / "docs" / "schemas").glob("*.schema.json")):
        schema = json.loads(path.read_text(encoding="utf-8"))
        about = schema.get("description") or schema.get("title", "")
        name = path.name.removesuffix(".schema.json")
        lines.append(f"| `{name}` | {about} | [{path.name}](../docs/schemas/{path.name}) |")
    return "\n".join(lines) + "\n"


def make_nav() -> list[dict[str, Any]]:
    """Return the navigation; every page stands in it once."""
    left = {path.relative_to(PAGES).as_posix() for path in PAGES.rglob("*.md")}
    nav = [{title: _resolve(pages, left)} for title, pages in CHAPTERS.items()]
    nav[-1]["More"] = sorted(left)
    return [chapter for chapter in nav if all(chapter.values())]


def _resolve(pages: list[str] | dict[str, list[str]], left: set[str]) -> list[Any]:
    if isinstance(pages, dict):
        return [{title: _resolve(names, left)} for title, names in pages.items()]
    found = []
    for name in pages:
        pattern = name if name.endswith(".md") else f"docs/{name}.md"
        found += sorted(path.relative_to(PAGES).as_posix() for path in PAGES.glob(pattern))
    left.difference_update(found)
    return found


def keep_search_local(site: Path) -> None:
    """Let the pages load what the search needs from the site itself; the theme takes it from a server."""
    shutil.copyfile(SHIM, site / "assets" / SHIM.name)
    for path in site.rglob("*.html"):
        up = "../" * (len(path.relative_to(site).parts) - 1)
        text = path.read_text(encoding="utf-8")
        path.write_text(THEIR_SHIM.sub(f'"{up}assets/{SHIM.name}"', text), encoding="utf-8")


def report_loads(site: Path) -> int:
    """Name every page that loads something from elsewhere; return 1 if there is one."""
    bad = [path for path in site.rglob("*.html") if LOADED.search(path.read_text(encoding="utf-8"))]
    for path in bad:
        print(f"{path.relative_to(site)}: loads something from elsewhere; it would not open offline", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
