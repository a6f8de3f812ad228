"""A small catalogue with one metric of each kind, for tests that need no more."""

from enum import StrEnum

from coordexp_metrics.contract.catalogue import Catalogue
from coordexp_metrics.contract.declare import (
    agreed,
    cumulative,
    derived,
    flag,
    maximum,
    mean,
    minimum,
    quantile,
    rate,
    shared_quantile,
    slowest_rank,
    total,
)
from coordexp_metrics.contract.family import Family, FamilyOver
from coordexp_metrics.contract.law import at_most, identity
from coordexp_metrics.contract.removal import Removed, Suppressed
from coordexp_metrics.contract.units import BIN, FRACTION, NAT, OBJECT, OBJECTIVE, SECOND, TOKEN


class Forward(StrEnum):
    """The forward pass whose logits were read."""

    GT_ANCHOR = "A1"
    ROLLOUT = "B"


class Objective(Family, pattern="{name}"):
    """What is minimised."""

    loss = mean("the objective", per=TOKEN, unit=OBJECTIVE, in_loss=True, better="lower")


class Diag(FamilyOver[Forward], pattern="diag/{provenance}/{name}"):
    """Read at coordinate tokens."""

    tokens_total = total("tokens read", unit=TOKEN)
    hits_total = total("tokens hit", unit=TOKEN)
    p_gt_mean = mean("probability of the target", per=TOKEN, better="higher")
    hit_rate = rate("hits / tokens", hits_total, tokens_total)
    error_p90 = quantile(0.9, "distance from the target", unit=BIN)


class Rollout(Family, pattern="rollout/{name}", source="metrics_and_losses.md:195"):
    """Absent from steps that generated nothing."""

    matched = total("matched objects", unit=OBJECT)
    pred_total = total("predicted objects", unit=OBJECT)
    gt_total = total("ground-truth objects", unit=OBJECT)
    _samples = total("rollouts", unit=OBJECT)
    precision = rate("matched / predicted", matched, pred_total)
    recall = rate("matched / truth", matched, gt_total)
    f1 = derived("harmonic mean", 2 * matched / (pred_total + gt_total), unit=FRACTION)
    missed_total = derived("truth not matched", gt_total - matched, unit=OBJECT)
    subset = at_most("matched are predicted", matched, pred_total)


class Knobs(Family, pattern="knob/{name}"):
    """The other kinds."""

    temperature = agreed("sampling temperature")
    active = flag("on anywhere")
    everywhere = flag("on everywhere", everywhere=True)
    peak = maximum("largest", unit=NAT)
    low = minimum("smallest", unit=NAT)
    length_p90 = quantile(0.9, "length", unit=TOKEN, limits=(1, 1_000_000))
    length_p99 = shared_quantile(0.99, "length", of=length_p90)
    generate_s = slowest_rank("seconds", unit=SECOND)


class Progress(Family, pattern="train/{name}", modes=("train",)):
    """How far the run is."""

    samples_total = total("samples", unit=OBJECT)
    samples_seen = cumulative("samples so far", of=samples_total)


class EvalRollout(Family, pattern="eval_rollout/{name}", modes=("eval",)):
    """Spelled in its own way in evaluation."""

    gt_objects = total("ground-truth objects", unit=OBJECT)


class Aliased(Family, pattern="text/{name}"):
    """Keys with other names."""

    entropy = mean(
        "entropy", per=TOKEN, unit=NAT, bounds=(0, None), aliases=("token_entropy",),
        logged_aliases=("legacy/entropy",),
    )  # fmt: skip


SMALL = Catalogue(
    Objective,
    Diag,
    Rollout,
    Knobs,
    Progress,
    EvalRollout,
    Aliased,
    removed=[Removed("loss/ce", ("loss/text/ce",)), Removed("obj/*", ("loss/{1}",))],
    suppressed=[Suppressed("eval_rollout/bbox_*")],
    laws=[identity("parts", Rollout.gt_total, Rollout.matched + Rollout.missed_total)],
)
