"""One forward's logits, labels and token types become every Stage-1 metric, in one read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import Tensor

from ..catalogue import CATALOGUE
from ..catalogue.coord_diag import Forward
from ..catalogue.health import Health
from ..catalogue.progress import Packing
from ..catalogue.stage1 import Stage1CoordDiag
from ..window import Window
from .backends import Backend, Choice
from .by_kernels import observe_by_kernels
from .chunks import Read
from .coord_distribution import SoftTarget
from .coord_vocabulary import CoordVocabulary
from .kernels.program import Settings
from .keys import CoordWeights, Rows
from .positions import positions_of, refuse_shapes
from .rowstats import Request, row_statistics
from .settings import refuse, refuse_term
from .streaming import Streaming

__all__ = ["Backend", "LogitsReducer"]


class LogitsReducer(Streaming):
    """Logits to metrics, on their device, without a copy of the logits and without a host sync.

    Args:
        coord_token_ids: the token id of each coordinate bin, in order; K of them.
        enabled: whether the coordinate term is in the loss (metrics_and_losses.md:373). False, the
            pure cross-entropy ablation, drops ``base_ce/*`` and ``stage1/*``.
        temperature: T > 0 of the ``coord_diag`` terms and the ``coord_monitor`` masses; all else
            is at temperature 1.
        target_sigma: σ > 0 of the Gaussian soft target, in bins.
        target_truncate: the greatest distance from the target bin, in bins, at which the soft
            target is not zero; None keeps all bins.
        soft_ce_weight, w1_weight, ce_weight, gate_weight: of ``coord_diag/loss``. The raw terms
            appear whatever their weights.
        log_top5: whether to log ``token_acc_top5`` and the ``*_token_acc_top5``.
        coord_monitor_mass: whether to log ``coord_monitor/coord_vocab_mass_*``.
        coord_monitor_mass_max_tokens: at most so many supervised tokens of a micro-batch, equally
            far apart, are read for those masses; 0 reads all.
        backend: ``"auto"``, ``"torch"`` or ``"triton"``: kernels on a CUDA device. ``auto`` takes
            them where triton is installed and plain torch anywhere else; ``.backend`` says which
            read the last batch, or will read the first, and why.

    Raises:
        DeclarationError: an argument cannot be right; it says which and why.
        MissingExtraError: ``backend="triton"``, which is not installed.

    >>> import torch
    >>> reducer = LogitsReducer(coord_token_ids=[2, 3, 4])
    >>> logits = torch.zeros(1, 3, 5)
    >>> logits[0, 0, 1] = logits[0, 1, 3] = 9.0
    >>> metrics = reducer.compute(logits, labels=torch.tensor([[0, 1, 3]]))
    >>> metrics["token_acc"], metrics["token_count"], metrics["coord_diag/coord_tokens"]
    (1.0, 2, 1)
    """

    def __init__(
        self,
        coord_token_ids: Iterable[int] | Tensor,
        enabled: bool = True,
        temperature: float = 1.0,
        target_sigma: float = 2.0,
        target_truncate: float | None = None,
        soft_ce_weight: float = 1.0,
        w1_weight: float = 1.0,
        ce_weight: float = 0.0,
        gate_weight: float = 1.0,
        log_top5: bool = True,
        coord_monitor_mass: bool = True,
        coord_monitor_mass_max_tokens: int = 0,
        backend: str = "auto",
    ) -> None:
        weights = (soft_ce_weight, w1_weight, ce_weight, gate_weight)
        refuse_term(temperature, target_sigma, target_truncate, weights)
        most = coord_monitor_mass_max_tokens
        refuse("coord_monitor_mass_max_tokens", most, most >= 0, "0 or more")
        super().__init__()
        self.vocabulary = CoordVocabulary(coord_token_ids)
        self.temperature = float(temperature)
        self.weights = CoordWeights(bool(enabled), *weights)
        self.log_top5 = log_top5
        self.coord_monitor_mass = coord_monitor_mass
        self.coord_monitor_mass_max_tokens = int(most)
        self._choice = Choice(backend)
        self._soft_target = SoftTarget(len(self.vocabulary), target_sigma, target_truncate)
        self._settings = Settings(
            self.vocabulary,
            self._soft_target,
            self.temperature,
            self.weights,
            log_top5,
            coord_monitor_mass,
            self.coord_monitor_mass_max_tokens,
        )

    @property
    def backend(self) -> Backend:
        """What read the last batch, or will read the first, and why."""
        return self._choice.backend

    def observe(
        self,
        window: Window,
        logits: Tensor,
        labels: Tensor,
        token_types: Tensor | None = None,
        num_samples: float | Tensor | None = None,
        provenance: str | None = None,
    ) -> None:
        """Fold one micro-batch into a window.

        Args:
            window: where the sufficient statistics go, as float64 scalars on the logits' device.
            logits: ``[B, S, V]``, float32, bfloat16, float16 or float64, any strides, unshifted.
            labels: integers ``[B, S]``; ``labels[:, 1:] != -100`` are supervised, the logits one
                position earlier predict them (metrics_and_losses.md:465).
            token_types: IGNORE -1, DESC 1, COORD 2 or FORMAT 3, integers ``[B, S]``, shifted like
                the labels. Without them, or where they do not fit, no key is split by type.
            num_samples: original samples in the packs (metrics_and_losses.md:531); None means B.
            provenance: A1, A2 or B; then only ``coord_diag/<provenance>/*`` is observed.

        Raises:
            ObservationError: logits or labels have a shape or a dtype that cannot be read.
            DeclarationError: a coordinate id lies outside the vocabulary of the logits.

        The inputs, their gradients and the random generators are left as they are.

        >>> import torch
        >>> window = Window(CATALOGUE, group="local")
        >>> reducer = LogitsReducer(coord_token_ids=[0, 1])
        >>> reducer.observe(window, torch.zeros(2, 4, 6), torch.ones(2, 4, dtype=torch.long))
        >>> window.close(mode="train", global_step=1).metrics["coord_diag/coord_vocab_mass"]
        0.3333333333333333
        """
        forward = None if provenance is None else Forward(provenance)
        refuse_shapes(logits, labels)
        self.vocabulary.refuse_beyond(logits.shape[-1])
        batch = (logits, labels, token_types)
        samples = len(labels) if num_samples is None else num_samples
        read = partial(self._read_by_torch, samples)
        if not observe_by_kernels(self._choice, self._settings, window, batch, forward, read):
            read(window, batch, forward)
        elif forward is None:
            self._observe_batch(window, samples)

    def _read_by_torch(
        self,
        num_samples: float | Tensor,
        window: Window,
        batch: tuple[Tensor, Tensor, Any],
        forward: Forward | None,
    ) -> None:
        """The reference beside the kernels: plain torch, on any device."""
        logits, labels, token_types = batch
        positions, misfits = positions_of(logits, labels, token_types, self.vocabulary)
        wanted = positions.supervised if forward is None else positions.is_coord
        positions = positions.only(wanted)
        request = self._request(forward, entropy=positions.types is not None)
        statistics = row_statistics(logits.detach(), positions, request)
        self._fold(window, Read(positions, statistics, misfits), num_samples, forward)

    def _request(self, forward: Forward | None = None, *, entropy: bool) -> Request:
        """What is to be read: of a forward pass with a provenance, the coordinates alone."""
        return Request(
            self.vocabulary,
            self._soft_target,
            self.temperature,
            top5=self.log_top5 and forward is None,
            entropy=entropy and forward is None,
        )

    def _fold(
        self,
        window: Window,
        read: Read,
        num_samples: float | Tensor | None,
        forward: Forward | None,
    ) -> None:
        """Observe the rows of one micro-batch, wherever they were read."""
        positions, statistics, misfits = read
        if forward is not None:
            positions = positions.counting(positions.is_coord)
        rows = Rows(window, positions, statistics)
        window.observe(Health.nonfinite_rows_total, rows.lost)
        window.observe(Health.labels_out_of_range_total, misfits.labels)
        if forward is not None:
            rows.observe_forward(forward)
            return
        window.observe(Health.token_types_dropped_total, misfits.types)
        self._observe_batch(window, num_samples)
        self._observe(rows, typed=positions.types is not None)

    def _observe_batch(self, window: Window, num_samples: float | Tensor | None) -> None:
        """What no row says."""
        window.observe(Stage1CoordDiag.enabled, float(self.weights.enabled))
        if num_samples is not None:
            window.observe(Packing.num_samples, num_samples)

    def _observe(self, rows: Rows, *, typed: bool) -> None:
        rows.observe_tokens(top5=self.log_top5)
        if typed:
            rows.observe_types(top5=self.log_top5)
        if self.weights.enabled:
            rows.observe_base_ce()
        rows.observe_coord_terms(self.weights)
        rows.observe_monitor(mass=self.coord_monitor_mass, most=self.coord_monitor_mass_max_tokens)

    def compute(
        self,
        logits: Tensor,
        labels: Tensor,
        token_types: Tensor | None = None,
        num_samples: float | Tensor | None = None,
    ) -> dict[str, float]:
        """The metrics of one batch, by their train names: for a test or a notebook.

        Args and errors are those of ``observe``. A key that is not finite is NaN or infinite here.

        >>> import torch
        >>> reducer = LogitsReducer(coord_token_ids=[0, 1])
        >>> reducer.compute(torch.zeros(1, 2, 4), torch.tensor([[-100, 3]]))["base_ce/loss"]
        1.3862943611198906
        """
        window = Window(CATALOGUE, group="local")
        self.observe(window, logits, labels, token_types, num_samples)
        payload = window.close(mode="train", global_step=0)
        found = {**payload.metrics, **{k: float(v) for k, v in payload.nonfinite.items()}}
        # Among several ranks the window spells what is this rank's own local/<key>.
        return {key.removeprefix("local/"): value for key, value in found.items()}
