"""Mistakes that the type checker must find; each marked line is one, and no other line is."""

from coordexp_metrics.catalogue import (
    CATALOGUE,
    CoordDiag,
    CoordLoss,
    Matching,
    SelfContextTextLoss,
    Stage1CoordDiag,
)
from coordexp_metrics.catalogue.coord_diag import Forward
from coordexp_metrics.catalogue.objective import Pass
from coordexp_metrics.contract.declare import derived, mean, quantile, rate, total
from coordexp_metrics.contract.family import Family
from coordexp_metrics.contract.units import FRACTION, TOKEN
from coordexp_metrics.registry import MetricsRegistry
from coordexp_metrics.window import Window

window = Window(CATALOGUE)
registry = MetricsRegistry()

window.observe(CoordDiag(Forward.ROLLOUT).p_gt_maen, 1.0, 2)  # mistake: misspelt name
window.observe(SelfContextTextLoss.desc_ce, 1.0, 2)  # mistake: A2_text has no desc_ce
window.observe(CoordLoss(Pass.B).bbox_cio, 1.0, 2)  # mistake: misspelt atom
window.observe(Matching.precision, 0.5)  # mistake: a rate is computed
window.observe(Matching.f1, 0.5)  # mistake: a derived metric is computed
window.observe(CoordLoss(Pass.B).bbox_ciou, 1.0)  # mistake: a mean without its weight
window.observe(Matching.gt_objects_total, 1, 2)  # mistake: a total with a weight
window.observe(Stage1CoordDiag.expected_bin_abs_err_p90, 3.0)  # mistake: a quantile of one number
CoordDiag("B").p_gt_mean  # mistake: a string for a forward pass
CoordDiag(Pass.B).p_gt_mean  # mistake: the pass of another family
mean("share of hits")  # mistake: a mean without its population
mean("share of hits", per="token")  # mistake: a bare string for a unit
total("hits", unit=TOKEN, beter="higher")  # mistake: misspelt option
total("hits", unit=TOKEN, better="up")  # mistake: no such direction
total("hits", unit=TOKEN, modes=("valid",))  # mistake: no such mode
rate("r", CoordLoss(Pass.B).bbox_ciou, Matching.gt_objects_total)  # mistake: a mean in a rate
quantile("0.9", "length", unit=TOKEN, limits=(1, 10))  # mistake: a level that is no number
derived("d", "matched / total", unit=FRACTION)  # mistake: a formula as text
Matching.precision.key = "rollout/p"  # mistake: a metric cannot be changed
Matching.gt_objects_total + "1"  # mistake: a formula with a string
window.close(mode="test", global_step=1)  # mistake: no such mode
window.close(mode="train")  # mistake: a close without its step
MetricsRegistry(on_violation="ignore")  # mistake: no such policy
registry.emit(3)  # mistake: no payload


class Wrong(Family, pattern="my/{name}", mode=("train",)):  # mistake: misspelt class option
    """A family."""


window.observe(CoordDiag(Forward.ROLLOUT).p_gt_mean, 1.0, 2)
window.observe(Matching.gt_objects_total, 1)
window.observe("rollout/gt_objects_total", 1)
