"""Two catalogues: what may have changed from one to the other. Examples are base, then head."""

from __future__ import annotations

from ...audit.rules.rule import Rule

__all__ = ["DIFF"]

_FOUND = '{"key": "panels/found_total", "kind": "total", "unit": "panel", "description": "found"}'
_OTHER = '{"key": "panels/all_total", "kind": "total", "unit": "panel", "description": "found"}'
_MORE = '{"key": "panels/lost_total", "kind": "total", "unit": "panel", "description": "lost"}'
_OBJECT = _FOUND.replace('"unit": "panel"', '"unit": "object"')
_SAID = _FOUND.replace('"description": "found"', '"description": "panels found"')
_TRAIN = _FOUND.replace("}", ', "modes": ["train"]}')
_SAME = f"[{_FOUND}] [{_FOUND}]"

DIFF = (
    Rule(
        "CXM701",
        "key-removed",
        "error",
        "The key is gone: dashboards, alerts and best-model settings that name it break.",
        f"[{_FOUND}, {_MORE}] [{_FOUND}]",
        f"[{_FOUND}] [{_FOUND}, {_MORE}]",
    ),
    Rule(
        "CXM702",
        "key-renamed",
        "error",
        "The same definition has another key; deprecate the old one first.",
        f"[{_FOUND}] [{_OTHER}]",
        _SAME,
    ),
    Rule(
        "CXM703",
        "breaking-change",
        "error",
        "A reader of the key no longer finds it, or not in the range that it was in.",
        f"[{_FOUND}] [{_TRAIN}]",
        f"[{_TRAIN}] [{_FOUND}]",
    ),
    Rule(
        "CXM704",
        "meaning-changed",
        "error",
        "The numbers mean something else under the same name; a new meaning is a new key.",
        f"[{_FOUND}] [{_OBJECT}]",
        _SAME,
    ),
    Rule(
        "CXM705",
        "compatible-change",
        "note",
        "The key says more, or says it better; nothing that read it breaks.",
        f"[{_FOUND}] [{_SAID}]",
        _SAME,
    ),
    Rule(
        "CXM706",
        "key-added",
        "note",
        "The key is new.",
        f"[{_FOUND}] [{_FOUND}, {_MORE}]",
        _SAME,
    ),
)
