"""A page that needs nothing else: its style is within, nothing runs, and every text is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

__all__ = ["document", "element", "text"]

STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfbfa; --card: #ffffff; --ink: #1c2024; --soft: #667079; --edge: #e3e5e8;
  --error: #c4302b; --warning: #b26a00; --note: #3b6fb6; --good: #2e7d4f; --line: #3d4a5c;
  --error-soft: #fdecea; --warning-soft: #fdf3e2; --note-soft: #e8f0fb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14171a; --card: #1c2024; --ink: #e6e8ea; --soft: #98a2ab; --edge: #2f353b;
    --error: #ff7b72; --warning: #e3a54a; --note: #79b0f2; --good: #63c18b; --line: #b6c2d0;
    --error-soft: #3a1f1e; --warning-soft: #38290f; --note-soft: #1a2a3f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 1080px; padding: 32px 20px 80px; background: var(--ground);
  color: var(--ink); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif;
}
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 44px 0 2px; scroll-margin-top: 12px; }
h2 a { color: inherit; text-decoration: none; }
p { margin: 4px 0 12px; }
code, .key { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 13px; }
.soft { color: var(--soft); }
.chips { display: flex; flex-wrap: wrap; gap: 8px; margin: 18px 0 26px; }
.chip { padding: 3px 12px; border-radius: 999px; font-weight: 600; font-size: 14px; }
.error .chip, .chip.error { background: var(--error-soft); color: var(--error); }
.warning .chip, .chip.warning { background: var(--warning-soft); color: var(--warning); }
.note .chip, .chip.note { background: var(--note-soft); color: var(--note); }
.chip.clean { background: var(--edge); color: var(--good); }
h2 .chip { font-size: 12px; margin-left: 8px; vertical-align: 2px; padding: 2px 9px; }
nav table { width: 100%; border-collapse: collapse; background: var(--card); }
nav td { border: 1px solid var(--edge); border-width: 1px 0; padding: 6px 12px; }
nav a { color: inherit; font-weight: 600; }
nav td.number { text-align: right; font-variant-numeric: tabular-nums; }
article {
  background: var(--card); border: 1px solid var(--edge); border-left-width: 4px;
  border-radius: 6px; padding: 14px 18px 12px; margin: 14px 0; break-inside: avoid;
}
article.error { border-left-color: var(--error); }
article.warning { border-left-color: var(--warning); }
article.note { border-left-color: var(--note); }
article header { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline; }
article .key { font-size: 15px; font-weight: 650; overflow-wrap: anywhere; flex: 1 1 320px; }
article p, .where { overflow-wrap: anywhere; }
.sure { display: inline-block; width: 64px; height: 6px; border-radius: 3px; margin: 0 6px 1px 0;
  background: linear-gradient(to right, var(--soft) var(--p), var(--edge) var(--p)); }
figure { margin: 12px 0 4px; }
figcaption { font-size: 12.5px; color: var(--soft); overflow-wrap: anywhere; }
.panels { display: grid; gap: 0 18px;
  grid-template-columns: repeat(auto-fill, minmax(280px, 1fr)); }
.side { display: flex; flex-wrap: wrap; gap: 0 26px; align-items: flex-start; }
.side .drawn { flex: 1 1 560px; min-width: 0; } .side .told { flex: 0 1 auto; padding-top: 12px; }
.mark { display: inline-block; width: 18px; height: 0; border-top: 2px solid var(--line);
  margin: 0 5px 3px 12px; }
.mark.dashed { border-top: 2px dashed var(--good); }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg text.y { text-anchor: end; } svg text.x { text-anchor: middle; }
.grid { stroke: var(--edge); } .axis { stroke: var(--soft); }
polyline { fill: none; stroke-linejoin: round; }
.series { stroke: var(--line); stroke-width: 1.6; }
.should { stroke: var(--good); stroke-width: 1.6; stroke-dasharray: 5 4; }
.point { fill: var(--line); } .offender { fill: var(--error); }
.warning .offender { fill: var(--warning); } .note .offender { fill: var(--note); }
.right { fill: var(--card); stroke: var(--good); stroke-width: 1.6; }
.numbers { border-collapse: collapse; font-size: 13.5px; margin: 8px 0 4px; }
.numbers th { text-align: right; font-weight: 500; color: var(--soft); padding: 1px 16px 1px 0; }
.numbers td { text-align: right; padding: 1px 16px 1px 0; font-variant-numeric: tabular-nums; }
details { margin-top: 6px; font-size: 13px; } summary { color: var(--soft); cursor: pointer; }
details pre { overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
footer { margin-top: 48px; color: var(--soft); font-size: 13px; }
@media print { body { background: none; } article { border-color: #ccc; } }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, body: Iterable[str]) -> str:
    """A whole page; ``body`` is HTML already."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def element(name: str, inner: str, attributes: Mapping[str, str] | None = None) -> str:
    """An element around HTML.

    >>> element("p", text("a < b"), {"class": "soft"})
    '<p class="soft">a &lt; b</p>'
    """
    given = "".join(f' {key}="{escape(value)}"' for key, value in (attributes or {}).items())
    return f"<{name}{given}>{inner}</{name}>"


def text(plain: object) -> str:
    """Anything as text of a page: printable ASCII, and never markup.

    >>> text("<b>\\x1b[2J")
    '&lt;b&gt;\\\\x1b[2J'
    """
    shown = "".join(c if " " <= c <= "~" or c == "\n" else ascii(c)[1:-1] for c in str(plain))
    return escape(shown)
