"""The ``types`` verb shows a sample by the type of its tokens, and steers no terminal."""

import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from coordexp_metrics.cli.app import app
from coordexp_metrics.token_types import write_coordjson

from . import samples


@pytest.fixture(scope="module")
def vocabulary(byte_level, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    byte_level.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def show(vocabulary, tmp_path):
    def run(content, *arguments):
        file = tmp_path / "samples.jsonl"
        file.write_text(content if isinstance(content, str) else json.dumps(content) + "\n")
        return CliRunner().invoke(
            app, ["types", str(file), "--tokenizer", str(vocabulary), *arguments]
        )

    return run


PAYLOAD = samples.payload_of("red dog")
TEXT = write_coordjson(PAYLOAD).text
PIXELS = {
    "coord_mode": "pixel",
    "width": 1000,
    "height": 2000,
    "gt": [{"index": 0, "desc": "red dog", "bbox_2d": [1, 40, 300, 1998]}],
}


@pytest.mark.parametrize(
    "content",
    [
        {"assistant_payload": PAYLOAD},
        PAYLOAD,
        PIXELS,
        TEXT,
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": TEXT}]},
        {"messages": [{"role": "assistant", "content": [{"type": "text", "text": TEXT}]}]},
    ],
)
def test_samples_of_every_form_are_shown_with_a_legend(show, content):
    done = show(content)
    assert done.exit_code == 0
    shown = "".join(done.stdout.split("\n\n")[0].splitlines()[::2])
    assert shown == TEXT
    assert "coord" in done.stdout
    assert "4 tokens" in done.stdout


def test_marks_stand_below_what_they_mark(show):
    text, marks, *_ = show(PAYLOAD).stdout.splitlines()
    found = "".join(letter for letter, mark in zip(text, marks, strict=True) if mark in "Dd")
    assert found == "red dog"


def test_in_colour_each_token_is_painted(show):
    done = show(PAYLOAD, "--color")
    assert re.search("\x1b\\[36(;4)?m<\\|coord_20\\|>\x1b\\[0m", done.stdout)
    assert re.sub("\x1b\\[[0-9;]*m", "", done.stdout).startswith('{"objects"')


def test_a_pipe_is_never_painted(show):
    assert "\x1b" not in show(PAYLOAD).stdout


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_is_painted_unless_no_color_is_set(vocabulary, tmp_path, no_color):
    file = tmp_path / "sample.json"
    file.write_text(json.dumps(PAYLOAD))
    ours, theirs = os.openpty()
    verb = [sys.executable, "-m", "coordexp_metrics.cli", "types", str(file)]
    environment = {**os.environ, "NO_COLOR": no_color}
    subprocess.run(
        [*verb, "--tokenizer", str(vocabulary)], stdout=theirs, env=environment, check=True
    )
    os.close(theirs)
    assert (b"\x1b[" in os.read(ours, 4000)) is not bool(no_color)
    os.close(ours)


def test_data_steers_no_terminal(show):
    """Not by escapes of C1, not by overrides of direction, not by markup."""
    nasty = samples.payload_of("a\u009b31m\u202eb [red]x[/] \x1b[2J")
    done = show({"assistant_payload": nasty})
    assert done.exit_code == 0
    assert not re.search("[\u009b\u202e\x1b]", done.stdout)
    assert "[red]x[/]" in done.stdout


def test_labels_that_are_not_the_answer_are_a_finding(show, byte_level):
    sample = samples.sample_of(byte_level, PAYLOAD)
    assert show(sample).exit_code == 0
    sample["labels"] = sample["labels"][:-4]
    done = show(sample)
    assert done.exit_code == 1
    assert "misaligned: the labels end at position" in done.stdout


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "has no line 1"),
        ("[]", "is no sample"),
        ("{}", "has no answer"),
        ("a dog", "opens with a brace"),
        ({**PIXELS, "width": 0}, "no width and height"),
        ({"objects": 7}, "list of 'objects'"),
        ({"objects": [{"desc": "\ud800"}]}, "half a character"),
        ("\x1b[2J{", "opens with a brace"),
    ],
)
def test_what_cannot_be_shown_is_said(show, content, why):
    done = show(content)
    assert done.exit_code == 2
    assert why in done.stderr
    assert "\x1b" not in done.stderr


def test_a_file_that_is_no_tokenizer_is_said(tmp_path):
    file = tmp_path / "a.json"
    file.write_text("{}")
    done = CliRunner().invoke(app, ["types", str(file), "--tokenizer", str(file)])
    assert done.exit_code == 2
    done = CliRunner().invoke(app, ["types", str(tmp_path / "none"), "--tokenizer", "qwen"])
    assert done.exit_code == 2
