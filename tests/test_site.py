"""The documentation as a site: complete, without a load from elsewhere, with a reference that is what the code says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer.main
from tools import site

import tumortrace
from tumortrace.cli import app

ROOT = Path(__file__).parent.parent
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has commands


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a link that leads nowhere would fail here."""
    pytest.importorskip("material", reason="mkdocs-material is not installed")
    folder = tmp_path_factory.mktemp("docs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(site, "BUILD", folder / "build")
        patch.setattr(site, "PAGES", folder / "build" / "pages")
        patch.setattr(site, "SITE", folder / "site")
        assert site.main() == 0
    return folder / "site"


def test_every_page_of_the_repository_is_in_the_site_and_in_the_search(built):
    index = json.loads((built / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    for page in (ROOT / "docs").rglob("*.md"):
        name = "index.html" if page.name == "README.md" else f"{page.stem}.html"
        place = (page.parent.relative_to(ROOT) / name).as_posix()
        assert (built / place).is_file(), place
        assert place in found


def test_the_commands_are_those_of_the_program(built):
    document = json.loads((built / "reference" / "commands.json").read_text(encoding="utf-8"))
    assert list(document["commands"]) == list(COMMANDS)
    for name, command in COMMANDS.items():
        described = document["commands"][name]
        assert [p["names"][0] for p in described["parameters"]] == [p.opts[0] for p in command.params]
        assert described["help"].startswith(f"Usage: tumortrace {name}")
    (out,) = (p for p in document["commands"]["prepare"]["parameters"] if "--out" in p["names"])
    assert (out["metavar"], out["required"], out["help"]) == ("DIR", True, "Folder to make.")


def test_every_function_for_programs_has_its_entry(built):
    page = (built / "reference" / "python.html").read_text(encoding="utf-8")
    for name, home in tumortrace._HOME.items():
        assert f'id="{home}.{name}"' in page


def test_a_page_that_would_load_from_elsewhere_is_named(tmp_path, capsys):
    (tmp_path / "good.html").write_text('<a href="https://example.org">away</a><script src="assets/a.js"></script>')
    assert site.report_loads(tmp_path) == 0
    (tmp_path / "bad.html").write_text('<script src="https://example.org/a.js"></script>')
    assert site.report_loads(tmp_path) == 1
    assert "bad.html: loads something from elsewhere" in capsys.readouterr().err


def test_a_long_command_wraps_and_a_phone_reads_it_whole(built):
    page = (built / "index.html").read_text(encoding="utf-8")
    assert '<link rel="stylesheet" href="style.css' in page
    assert '<div class="language-sh highlight"><pre><span></span><code><span id="__span-0-1">' in page
    assert ".md-typeset .language-sh code { white-space: pre-wrap; }" in (built / "style.css").read_text("utf-8")


def test_numbers_of_tables_are_not_broken_at_their_spaces():
    prose = "Dice 0.87 (0.81 to 0.90), 5 % missed (from one to two).\n"
    row = "| rate (all to see) | 0.87 (0.81 to 0.90); missed 4.6 % | +0.005 (-0.008 to +0.020) |\n"
    joined = "| rate (all to see) | 0.87 (0.81~to~0.90); missed 4.6~% | +0.005 (-0.008~to~+0.020) |\n"
    assert site.keep_numbers_whole(prose + row) == prose + joined.replace("~", "\N{NO-BREAK SPACE}")
