"""The key reference: every key has its place, every link arrives, and text stays text."""

import re
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from markdown_it import MarkdownIt

from coordexp_metrics import CATALOGUE
from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import derived, total
from coordexp_metrics.contract.family import Family
from coordexp_metrics.contract.formula import parameter
from coordexp_metrics.contract.law import at_most
from coordexp_metrics.contract.removal import Removed, Suppressed
from coordexp_metrics.contract.units import Condition, Unit
from coordexp_metrics.generate.markdown import code, text
from coordexp_metrics.generate.outputs import outputs

from ..small import SMALL

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")


def pages(catalogue: Catalogue) -> dict[str, str]:
    found = outputs(catalogue)
    return {n.rpartition("/")[2]: t for n, t in found.items() if n.endswith(".md")}


class Nodes(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, markdown: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.cells: list[str] = []
        self.feed(MARKDOWN.render(markdown))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"td", "th"}:
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.cells:
            self.cells[-1] += data

    def all(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs]


PAGES = {name: Nodes(page) for name, page in pages(CATALOGUE).items()}


def test_every_key_is_an_anchor_once() -> None:
    anchors = [anchor for page in PAGES.values() for anchor in page.all("id")]
    assert sorted(anchors) == sorted(CATALOGUE)


def test_every_link_arrives() -> None:
    places = {name: set(page.all("id")) for name, page in PAGES.items()}
    for name, page in PAGES.items():
        for address in page.all("href"):
            file, _, fragment = address.partition("#")
            assert file in places, f"{name} links to {address}"
            assert not fragment or unquote(fragment) in places[file], f"{name} links to {address}"


@pytest.mark.parametrize("catalogue", [SMALL, CATALOGUE], ids=["small", "all"])
def test_a_row_says_what_a_reader_needs(catalogue: Catalogue) -> None:
    for page in catalogue.pages:
        file = next(t for t in pages(catalogue).values() if f"\n# {page.name}\n" in t)
        shown = " ".join(Nodes(file).text.split())
        for metric in page.metrics:
            row = next(r for r in file.splitlines() if f'id="{metric.key}"' in r)
            read = Nodes(f"| a | b | c | d | e |\n| - | - | - | - | - |\n{row}")
            assert metric.description in read.text
            assert metric.kind in read.cells[7]
            assert metric.unit in read.cells[8]
            assert str(metric.population or "") in read.cells[8]
            assert metric.source in read.cells[9]
            assert (metric.better or "") in read.cells[8]
            if metric.formula is not None:
                links = read.all("href")
                assert all(any(leaf.key in x for x in links) for leaf in metric.formula.leaves())
            if "eval" in metric.modes and not metric.internal:
                assert metric.eval_key in read.cells[5]
            for alias in (*metric.aliases, *metric.logged_aliases):
                assert alias in read.cells[5]
            if metric.when:
                assert metric.when.text in shown


def test_the_index_holds_every_key_that_leaves() -> None:
    rows = {cell.strip() for cell in PAGES["README.md"].cells}
    assert {metric.key for metric in CATALOGUE.values() if not metric.internal} <= rows


def test_removed_keys_link_to_their_replacements() -> None:
    shown = pages(CATALOGUE)["removed.md"]
    assert "[`loss/A1_text/struct_ce`](text-loss.md#loss/A1_text/struct_ce)" in shown
    assert "`loss/*_obj`" in shown
    assert "`eval_rollout/bbox_*`" in shown


def test_formulas_keep_their_parentheses() -> None:
    shown = Nodes(pages(SMALL)["rollout.md"]).text
    assert "= 2 × rollout/matched / (rollout/pred_total + rollout/gt_total)" in shown


HOSTILE = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "a | b",
    "`code` and ``more`` and ` alone",
    "[x](javascript:alert(1))",
    "![x](https://example.org/x.png)",
    "<https://example.org>",
    "{{7*7}} {% raw %}",
    "line\n# heading",
    "line\n---\n* item",
    "# heading",
    "1. item",
    "- item",
    "> quote",
    "=== ",
    "*strong* **bold** _soft_ ~~gone~~ $x$",
    "&lt;script&gt; &amp;",
    "\x1b[2J\u202eevil\u0000",
    "[ref]: javascript:alert(1)",
    "</td></tr></table><h1>x</h1>",
    "a\\|b\\",
    "<!-- comment",
    "https://example.org www.example.org a@example.org",
]
ALLOWED = {"h1", "h2", "p", "ul", "li", "code", "br", "a"} | {
    *("table", "thead", "tbody", "tr", "th", "td")
}


def hostile_catalogue(said: str) -> Catalogue:
    class Hostile(
        Family, pattern="my/{name}", source=said, emitted_by=(said,), when=Condition("c", said)
    ):
        first = total(said, unit=Unit(said), in_loss=True, in_loss_when=said)
        second = derived(said, first * parameter(said), unit=Unit(said))
        law = at_most(said, first, second)

    Hostile.__doc__ = f"{said}\n\n{said}"
    Hostile.__module__ = said
    return Catalogue(
        Hostile,
        removed=[Removed(said, (said,), said, said)],
        suppressed=[Suppressed(said, said, said)],
        laws=[at_most(said, Hostile.first, Hostile.second)],
    )


def _shape(nodes: Nodes) -> list[str]:
    return [tag for tag, _ in nodes.tags if tag != "code"]


@pytest.mark.parametrize("said", HOSTILE)
def test_c09_nothing_in_a_declaration_becomes_active(said: str) -> None:
    harmless = pages(hostile_catalogue("harmless"))
    for name, page in pages(hostile_catalogue(said)).items():
        read, plain = Nodes(page), Nodes(harmless[name])
        assert {tag for tag, _ in read.tags} <= ALLOWED
        assert len(read.cells) == len(plain.cells)
        assert _shape(read) == _shape(plain)
        assert not any("javascript" in address for address in read.all("href"))
        assert {key for _, attrs in read.tags for key in attrs} <= {"href", "id"}
        assert "{{" not in page
        assert "{%" not in page


@pytest.mark.parametrize("said", HOSTILE)
def test_text_reads_as_it_was_written(said: str) -> None:
    visible = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    quotes = re.sub(r"(`{1,2})([^`]+)\1", r"\2", visible)
    assert Nodes(text(said)).text.strip() == quotes
    assert Nodes(code(said)).text.strip() == visible


def test_long_words_do_not_take_long() -> None:
    for worst in ("`" * 100_000, "_" * 100_000, "1" * 100_000, "www." * 25_000, "a_" * 50_000):
        text(worst)
