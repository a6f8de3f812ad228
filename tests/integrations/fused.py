"""A fused linear cross-entropy: logits exist chunk by chunk and become their gradient in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import Qwen2ForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast

from . import tiny

ROWS = 5


class FusedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of ``hidden [n, H] @ weight.T`` against labels ``[n]``, -100 ignored."""

    @staticmethod
    def forward(ctx: Any, hidden: Any, weight: Any, labels: Any, watch: Any) -> torch.Tensor:
        grad_hidden, grad_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        tokens, total = (labels != -100).sum(), hidden.new_zeros(())
        for start in range(0, len(labels), ROWS):
            part, target = hidden[start : start + ROWS], labels[start : start + ROWS]
            logits, used = part @ weight.T, target != -100
            if watch is not None:
                watch(logits, target)
            lse = logits.logsumexp(1, keepdim=True)
            column = target.clamp(min=0)[:, None]
            total += ((lse - logits.gather(1, column)).squeeze(1) * used).sum()
            logits.sub_(lse).exp_()
            logits.scatter_add_(1, column, -torch.ones_like(column, dtype=logits.dtype))
            logits.mul_((used / tokens)[:, None])
            grad_hidden[start : start + ROWS] = logits @ weight
            grad_weight += logits.T @ part
        ctx.save_for_backward(grad_hidden, grad_weight)
        return total / tokens

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        grad_hidden, grad_weight = ctx.saved_tensors
        return grads[0] * grad_hidden, grads[0] * grad_weight, None, None


class FusedQwen(Qwen2ForCausalLM):
    """The tiny model with that loss.

    Attributes:
        watch: what the loss shows its chunks to.
        keeps_logits: whether it returns them all the same: training is the same, bit for bit.
        without_last: whether the loss leaves the last position of each sample out.
    """

    watch: Callable[..., Any] | None = None
    keeps_logits = False
    without_last = False

    def forward(
        self, input_ids: Any, attention_mask: Any = None, labels: Any = None, **_: Any
    ) -> CausalLMOutputWithPast:
        found = self.model(input_ids=input_ids, attention_mask=attention_mask)
        hidden = found.last_hidden_state
        loss = logits = None
        if labels is not None:
            rows, target = hidden, torch.nn.functional.pad(labels, (0, 1), value=-100)[:, 1:]
            if self.without_last:
                rows, target = hidden[:, :-1], labels[:, 1:]
            flat = rows.reshape(-1, rows.shape[-1])
            loss = FusedCrossEntropy.apply(flat, self.lm_head.weight, target.flatten(), self.watch)
        if self.keeps_logits or labels is None:
            with torch.no_grad():
                logits = self.lm_head(hidden)
        return CausalLMOutputWithPast(loss=loss, logits=logits)


def model(seed: int = 0, **attributes: Any) -> FusedQwen:
    """The weights of :func:`tiny.model`."""
    plain = tiny.model(seed)
    fused = FusedQwen(plain.config)
    fused.load_state_dict(plain.state_dict())
    for name, value in attributes.items():
        setattr(fused, name, value)
    return fused
