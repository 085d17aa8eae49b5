from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from markupsafe import Markup

from tumortrace.errors import DataError
from tumortrace.reporting import html
from tumortrace.reporting.html import Chapter, Section

FINDING = {"kind": "unreadable", "file": "a.png", "cause": "no <picture>", "severity": "left out", "remedy": "mend it"}


def test_only_what_is_longer_than_any_word_may_break_inside():
    path = "/a/path/that/is/longer/than/any/word.png"
    cells = re.findall(r"<td(.*?)>(.*?)</td>", html.table(["a", "b"], [["images left empty", "0.5"], [path, path]]))
    assert [kind for kind, _ in cells] == [' class="text"', "", ' class="text long"', ' class="long"']
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", html.page("t", "", []))
    breaking = {rule.strip() for rule, style in rules if "overflow-wrap: anywhere" in style}
    assert not [rule for rule in breaking if re.search(r"\b(td|th|table)\b(?!\.long)", rule)]


def test_headings_stay_with_what_they_head_in_print():
    printed = html.page("t", "", []).partition("@media print")[2]
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", printed)
    kept = {name.strip() for names, style in rules if "break-after: avoid" in style for name in names.split(",")}
    whole = {name.strip() for names, style in rules if "break-inside: avoid" in style for name in names.split(",")}
    assert {"h2", "h3", "thead", ".key", "h2 + p"} <= kept
    assert {"figure", "tr"} <= whole


def test_findings_are_counted_and_the_first_shown():
    assert "None: every image was read" in html.findings([], shown=2, file="f.json")
    two = html.findings([FINDING] * 2, shown=2, file="f.json")
    assert "2 unreadable" in two
    assert "no &lt;picture&gt;" in two
    assert "more, in" not in two
    three = html.findings([FINDING] * 3, shown=2, file="f.json")
    assert "And 1 more, in f.json." in three
    assert three.count("a.png") == 2


ONE = Chapter(
    "", [Section("First", html.paragraph("a")), Section("Empty", Markup()), Section("Last", html.paragraph("b"))]
)
TWO = [Chapter("x/val", [Section("All", html.paragraph("a")), Section("Some", html.paragraph("b"))]), ONE]


def test_one_chapter_has_a_list_of_contents_of_one_level():
    page = html.page("t", "lead", [ONE])
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["First", "Last"]
    links = re.findall(r'<a href="#(.*?)">(.*?)</a>', page)
    assert [words for _, words in links] == ["First", "Last"]
    assert all(f'<section id="{anchor}">' in page for anchor, _ in links)
    assert page.count("<ul") == 1


def test_several_chapters_have_a_list_of_two_levels():
    page = html.page("t", "lead", TWO)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["x/val", ""]
    assert re.findall(r"<h3>(.*?)</h3>", page) == ["All", "Some", "First", "Last"]
    anchors = re.findall(r'<a href="#(.*?)"', page)
    assert len(anchors) == len(set(anchors)) == 6
    assert all(f'id="{anchor}"' in page for anchor in anchors)
    assert page.count("<ul>") == 3


def test_text_is_escaped_and_markup_is_not():
    page = html.page("<b>t</b>", "a & b", [Chapter("", [Section("<i>s</i>", html.paragraph("<script>"))])])
    assert "&lt;b&gt;t&lt;/b&gt;" in page
    assert "a &amp; b" in page
    assert "<p>&lt;script&gt;</p>" in page
    assert "<h2>&lt;i&gt;s&lt;/i&gt;</h2>" in page
    table = html.table(["<u>"], [['"quoted"'], ["<u>"]])
    assert "<u>" not in table
    assert html.verbatim("<x>") == "<pre>&lt;x&gt;</pre>\n"
    assert "<b>3</b><span>of &lt; 4</span>" in html.headline([("3", "of < 4")])


def test_a_page_of_ours_is_written_over_and_no_other_file(tmp_path: Path):
    page = tmp_path / "page.html"
    html.write_page(page, html.page("one", "", []))
    html.write_page(page, html.page("two", "", []))
    assert "<h1>two</h1>" in page.read_text()
    page.write_text("<!DOCTYPE html><p>my own notes on tumortrace</p>")
    with pytest.raises(DataError, match=r"page\.html: is not a page that tumortrace wrote"):
        html.write_page(page, html.page("three", "", []))
    assert "my own notes" in page.read_text()


def test_a_folder_whose_name_is_not_utf_8_is_escaped(tmp_path: Path):
    html.write_page(tmp_path / "page.html", html.page("Audit", os.fsdecode(b"/data/k\xf6pfe"), []))
    assert "/data/k\\udcf6pfe" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["summary.json", "page.pdf", "page", "per_image.csv"])
def test_only_the_name_of_a_page_is_taken(name: str, tmp_path: Path):
    with pytest.raises(DataError, match=r"must end in \.html"):
        html.write_page(tmp_path / name, html.page("t", "", []))
    assert not (tmp_path / name).exists()
    html.write_page(tmp_path / "page.HTM", html.page("t", "", []))
