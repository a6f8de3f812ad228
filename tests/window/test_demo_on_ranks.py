"""The demo's detector, packed on four ranks, logs what one process logs of the padded samples."""

import json
from dataclasses import replace

import numpy as np
import pytest

from coordexp_metrics import CATALOGUE
from coordexp_metrics.window import Window
from tests.window.grid import Grid
from tests.window.samples import assert_same

SCENES = 16
PACKS = [[[0, 1, 2], [3]], [[4]], [[5, 6, 7, 8, 9], [10, 11], [12]], [[13, 14, 15]]]


def observed(window, packs, packed):
    """One step of the demo over ``packs`` of the same sixteen scenes, in float64.

    Packed, the scenes of a pack share one row.
    """
    import torch

    from coordexp_metrics.demo.coordjson import COORD_IDS, Batch
    from coordexp_metrics.demo.detector import Detector
    from coordexp_metrics.demo.objective import Normaliser, Supervised, terms
    from coordexp_metrics.demo.scenes import Digits
    from coordexp_metrics.reducers import LogitsReducer

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    detector = Detector().eval()  # batch normalisation reads the pack, and a pack is no sample
    scenes = Digits(held_out=False).scenes(SCENES, np.random.default_rng(0))
    reducer = LogitsReducer(COORD_IDS)
    normaliser = Normaliser.of([Batch.of([scene]) for scene in scenes])
    for pack in packs:
        batch = Batch.of([scenes[index] for index in pack], per_row=len(pack) if packed else 1)
        logits = detector(replace(batch, images=batch.images.double()))
        share = normaliser.share(terms(Supervised.of(logits, batch)))
        window.observe("loss", share, len(pack) / SCENES)
        window.observe("train/samples_total", len(pack))
        reducer.observe(window, logits, batch.labels, batch.token_types, batch.num_samples)
    torch.set_default_dtype(torch.float32)
    return window.close(mode="train", global_step=1).to_dict()


def on_ranks(rank):
    return observed(Window(CATALOGUE, timeout=50), PACKS[rank], packed=True)


def alone(rank):
    return observed(Window(CATALOGUE, group="local"), [range(SCENES)], packed=False)


def test_four_ranks_log_what_one_process_logs():
    with Grid(4) as grid:
        answers = grid.run(on_ranks)
        (whole,) = grid.run(alone, ranks=[0])
    assert len({json.dumps(answer) for answer in answers}) == 1
    wanted = {key.removeprefix("local/"): value for key, value in whole["metrics"].items()}
    assert len(wanted) > 40
    assert_same(answers[0]["metrics"], wanted)
    assert wanted["train/samples_seen"] == SCENES


def test_a_mean_of_the_packs_would_be_another_number():
    with Grid(1) as grid:
        (whole,) = grid.run(one_pack, range(SCENES))
        rows = [grid.run(one_pack, pack)[0] for rank in PACKS for pack in rank]
    means = [row["metrics"]["coord_diag/soft_ce"] for row in rows]
    assert sum(means) / len(means) != pytest.approx(
        whole["metrics"]["coord_diag/soft_ce"], rel=1e-6
    )


def one_pack(rank, pack):
    return observed(Window(CATALOGUE), [pack], packed=False)
