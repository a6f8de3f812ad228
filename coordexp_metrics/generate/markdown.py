"""Text on a page stays text: nothing in a declaration becomes a tag, a link, a cell or a heading.

Whatever Markdown, HTML, a formula renderer or a template engine could act on becomes a character
reference, which none of them acts on, and which every renderer shows as the character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from html import escape
from urllib.parse import quote

__all__ = ["anchor", "code", "link", "paragraphs", "table", "target", "text"]

_ACTIVE = re.compile(r"[\\`*\[\]|~<&${}@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<=www)\.|:(?=//)")
_AT_START = re.compile(r"^(?:[-+#=>]|\d+[.)])")
_PLAIN_CODE = re.compile(r"(?:[A-Za-z0-9_/.*:()=+@<>-]|\{[a-z0-9]+\})+")
_QUOTED = re.compile(r"(`{1,2})([^`]+)\1")


def text(said: str) -> str:
    """``said`` on one line, as plain text; what it puts between backticks is code.

    >>> text("a | b <script>")
    'a &#124; b &#60;script>'
    >>> text("see `x|y`")
    'see <code>x&#124;y</code>'
    """
    parts, end = [], 0
    line = " ".join(_printable(said).split())
    for quoted in _QUOTED.finditer(line):
        parts += [_inert(line[end : quoted.start()]), code(quoted.group(2))]
        end = quoted.end()
    shown = "".join([*parts, _inert(line[end:])])
    return _AT_START.sub(lambda found: found[0][:-1] + _reference(found[0][-1]), shown)


def _inert(line: str) -> str:
    return _ACTIVE.sub(lambda found: _reference(found[0]), line)


def _reference(character: str) -> str:
    return f"&#{ord(character)};"


def _printable(said: str) -> str:
    """``said`` without control characters, and without marks that reorder a line."""
    return "".join(
        " " if unicodedata.category(character)[0] in "CZ" else character for character in said
    )


def paragraphs(said: str) -> str:
    """``said`` as paragraphs; an empty line divides two."""
    return "\n\n".join(text(part) for part in re.split(r"\n\s*\n", said) if part.strip())


def code(said: str) -> str:
    """``said`` as code, whatever it holds.

    >>> code("loss/*"), code("`|")
    ('`loss/*`', '<code>&#96;&#124;</code>')
    """
    line = " ".join(_printable(said).split())
    return f"`{line}`" if _PLAIN_CODE.fullmatch(line) else f"<code>{_inert(line)}</code>"


def anchor(key: str) -> str:
    """Where links to a key arrive."""
    return f'<a id="{escape(key)}"></a>'


def target(page: str, key: str) -> str:
    """The address of a key on a page."""
    return f"{page}#{quote(key, safe=_SAFE)}"


_SAFE = "/:@+=_.-"


def link(shown: str, address: str) -> str:
    """A link; ``shown`` is Markdown already."""
    return f"[{shown}]({address})"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
