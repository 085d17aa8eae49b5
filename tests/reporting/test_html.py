from __future__ import annotations

import re

from tumortrace.reporting import html

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
