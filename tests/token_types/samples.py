"""Samples as a template makes them: a prompt that is not supervised, the answer, its end."""

import json
from pathlib import Path

from coordexp_metrics.rollouts import normalize_box
from coordexp_metrics.token_types import DESC, FORMAT, write_coordjson
from coordexp_metrics.token_types.codes import UNSUPERVISED

ROLLOUTS = Path(__file__).parents[3] / "shared" / "data" / "rollouts"
PROMPT = 5
ODD = {
    "chinese": "红色的狗在椅子上",
    "arabic": "كلب أحمر على كرسي",
    "emoji": "👩‍👩‍👧 dog 🐶🏽",
    "combining": "cafe\u0301 n\u0303 \u0301",
    "quotes": 'a "quoted" dog',
    "backslashes": "C:\\dogs\\",
    "escapes": "line\none\ttab",
    "controls": "a\x00b\x1b[2J\x7f\x85",
    "json inside": '"}], {"desc": "x", "bbox_2d": [',
    "coordinate inside": "a <|coord_5|> b",
    "special inside": "a <|im_end|> b",
    "punctuation": "dog.",
    "empty": "",
    "blank": "   ",
    "newlines": "\n\n",
    "very long": "red dog " * 2000,
}


def payload_of(*descriptions, bins=(1, 20, 300, 999)):
    boxes = [{"desc": text, "bbox_2d": list(bins)} for text in descriptions]
    return {"objects": boxes}


def ids_of(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids


def labels_of(tokenizer, text, tail="<|im_end|>", prompt=PROMPT):
    return [UNSUPERVISED] * prompt + ids_of(tokenizer, text + tail)


def sample_of(tokenizer, payload, dataset="lvis", **more):
    labels = labels_of(tokenizer, write_coordjson(payload).text)
    ids = [3 if label == UNSUPERVISED else label for label in labels]
    return {
        "input_ids": ids,
        "labels": labels,
        "assistant_payload": payload,
        "dataset": dataset,
        **more,
    }


def coordinate_ids(tokenizer):
    return {tokenizer.token_to_id(f"<|coord_{k}|>") for k in range(1000)}


def real_payloads():
    """The ground truth of real rollouts, in bins of the image."""
    for path in sorted(ROLLOUTS.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            size = row["width"], row["height"]
            yield {
                "objects": [
                    {"desc": thing["desc"], "bbox_2d": normalize_box(thing["bbox_2d"], *size)}
                    for thing in row["gt"]
                ]
            }


def by_characters(payload):
    """Another way to type characters: one after the other, between markers that nobody writes."""
    text, types, inside = [], [], FORMAT
    for character in _marked(payload):
        if character in "\x01\x02":
            inside = DESC if character == "\x01" else FORMAT
        else:
            text.append(character)
            types.append(inside)
    return "".join(text), types


def _marked(payload):
    parts = []
    for thing in payload["objects"]:
        desc = json.dumps(thing["desc"], ensure_ascii=False)[1:-1]
        coords = ", ".join(f"<|coord_{k}|>" for k in thing["bbox_2d"])
        parts.append(f'{{"desc": "\x01{desc}\x02", "bbox_2d": [{coords}]}}')
    return '{"objects": [' + ", ".join(parts) + "]}"
