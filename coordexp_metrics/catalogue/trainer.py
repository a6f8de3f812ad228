"""Keys of any Hugging Face, ms-swift or TRL run, so that an ordinary log is known throughout."""

from __future__ import annotations

from functools import partial

from ..contract.declare import agreed, maximum, mean
from ..contract.family import Family
from ..contract.units import (
    EPOCH,
    FLOP,
    GIBIBYTE,
    NAT,
    OBJECTIVE,
    SECOND,
    STEP,
    SUPERVISED_TOKEN,
    TOKEN,
)
from .conditions import COUNTS_INPUT_TOKENS, LOSS_SCALING
from .vocabulary import (
    GRADIENT_NORM,
    MS_SWIFT,
    NOT_NEGATIVE,
    SAMPLE_PER_SECOND,
    STEP_PER_SECOND,
    TOKEN_PER_SECOND,
    TRAIN,
    TRANSFORMERS,
    TRL,
)

speed = partial(agreed, better="higher", bounds=NOT_NEGATIVE)


class TrainerBasics(Family, pattern="{name}", modes=TRAIN, emitted_by=(TRANSFORMERS,)):
    """Logged during training, and in the summary at its end."""

    grad_norm = mean(
        "norm of the gradient before clipping", per=STEP, unit=GRADIENT_NORM, bounds=NOT_NEGATIVE
    )
    learning_rate = agreed("step size of the first parameter group", bounds=NOT_NEGATIVE)
    loss_scale = agreed("factor on the loss in half precision", when=LOSS_SCALING)
    train_loss = mean(
        "loss of the whole run, in its summary", per=STEP, unit=OBJECTIVE, better="lower"
    )
    train_samples_per_second = speed("samples a second over the whole run", unit=SAMPLE_PER_SECOND)
    train_steps_per_second = speed("steps a second over the whole run", unit=STEP_PER_SECOND)
    total_flos = agreed(
        "floating-point operations of the whole run", unit=FLOP, bounds=NOT_NEGATIVE
    )


class TrainerClock(Family, pattern="{name}", unprefixed=True, emitted_by=(TRANSFORMERS,)):
    """Where the run stands; records of an evaluation carry the same names."""

    epoch = agreed(
        "passes over the training set, fractions included", unit=EPOCH, bounds=NOT_NEGATIVE
    )
    train_runtime = maximum("wall clock since training began", unit=SECOND)
    num_input_tokens_seen = agreed(
        "tokens that went into the model, all ranks together",
        unit=TOKEN,
        bounds=NOT_NEGATIVE,
        when=COUNTS_INPUT_TOKENS,
    )
    train_tokens_per_second = speed(
        "tokens a second since training began", unit=TOKEN_PER_SECOND, when=COUNTS_INPUT_TOKENS
    )
    memory_gib = maximum(
        "accelerator memory reserved",
        unit=GIBIBYTE,
        name="memory(GiB)",
        better="lower",
        bounds=NOT_NEGATIVE,
        emitted_by=(MS_SWIFT,),
    )
    train_speed = speed(
        "optimizer steps a second since the start",
        unit=STEP_PER_SECOND,
        name="train_speed(iter/s)",
        emitted_by=(MS_SWIFT,),
    )


class SupervisedTrainer(Family, pattern="{name}", emitted_by=(TRL,)):
    """Logged by TRL's supervised trainer in addition."""

    entropy = mean(
        "entropy of the next-token distribution", per=TOKEN, unit=NAT, bounds=NOT_NEGATIVE
    )
    num_tokens = agreed("tokens processed so far", unit=TOKEN, bounds=NOT_NEGATIVE)
    mean_token_accuracy = mean(
        "share of tokens whose likeliest id is the target", per=SUPERVISED_TOKEN, better="higher"
    )


class EvalSpeed(Family, pattern="eval_{name}", modes=("eval",), emitted_by=(TRANSFORMERS,)):
    """How long an evaluation took."""

    runtime = maximum("wall clock of the evaluation", unit=SECOND, better="lower")
    samples_per_second = speed("evaluated samples a second", unit=SAMPLE_PER_SECOND)
    steps_per_second = speed("evaluation batches a second", unit=STEP_PER_SECOND)
    model_preparation_time = maximum(
        "time to put the model on its devices", unit=SECOND, better="lower"
    )
