"""Collators as trainers use them, small enough to read; they pickle."""

import torch

from coordexp_metrics.token_types.codes import UNSUPERVISED


def padded(samples, side="right"):
    """One row a sample."""
    width = max(len(sample["labels"]) for sample in samples)
    rows = {"input_ids": 0, "labels": UNSUPERVISED}

    def pad(values, filler):
        more = [filler] * (width - len(values))
        return [*values, *more] if side == "right" else [*more, *values]

    return {
        key: torch.tensor([pad(sample[key], filler) for sample in samples])
        for key, filler in rows.items()
    }


def padded_left(samples):
    return padded(samples, side="left")


def padding_free(samples):
    """One row with all samples, one after the other."""
    keys = ("input_ids", "labels")
    return {key: torch.tensor([[i for sample in samples for i in sample[key]]]) for key in keys}


def flattening(samples):
    """Padding-free as Hugging Face has it: the first label of each sample is taken away."""
    cut = [{**s, "labels": [UNSUPERVISED, *s["labels"][1:]]} for s in samples]
    return padding_free(cut)


def packs(lists):
    """One row a pack, padded to the longest; takes lists of samples."""
    rows = [padding_free(samples) for samples in lists]
    return padded([{key: row[key][0].tolist() for key in row} for row in rows])


def one_short(samples):
    """A collator that loses the last label of a pack."""
    return {key: value[:, :-1] for key, value in padding_free(samples).items()}


def one_long(samples):
    """A collator that adds a label to a pack."""
    filler = torch.tensor([[UNSUPERVISED]])
    return {key: torch.cat([v, filler], 1) for key, v in padding_free(samples).items()}


def reversed_order(samples):
    return padding_free(samples[::-1])
