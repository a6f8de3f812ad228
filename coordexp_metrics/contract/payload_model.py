"""The payload as a pydantic model: all problems at once, and the source of the JSON Schema.

Imported only where a payload comes from a file or a test; ``emit`` compares exact types instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.functional_validators import PlainValidator
from pydantic_core import PydanticCustomError

from .errors import PayloadError, Problem, SchemaVersionError, safe_text
from .keys import well_formed
from .payload import (
    MAX_KEYS,
    MAX_STEP,
    SUPPORTED_VERSIONS,
    Payload,
    metrics_problems,
    mode_problems,
    nonfinite_problems,
    step_problems,
    version_problems,
)
from .values import Rejected, nonfinite_name, plain_number

__all__ = ["PayloadModel", "parse"]


def _refusing(problems: Callable[[object], list[Problem]]) -> PlainValidator:
    """A validator that says the first of ``problems`` as a pydantic error."""

    def check(found: object) -> object:
        for problem in problems(found):
            raise PydanticCustomError(problem.code, "{why}", {"why": problem.message})
        return found

    return PlainValidator(check)


class PayloadModel(BaseModel):
    """One metrics payload, version 1: what a trainer emits for one optimizer step."""

    model_config = ConfigDict(title="Metrics payload, version 1", extra="allow")

    schema_version: Annotated[
        Literal[1],
        _refusing(version_problems),
        WithJsonSchema({"type": "integer", "const": 1}),
    ] = Field(description="The major version of this envelope.")
    mode: Annotated[
        Literal["train", "eval"],
        _refusing(mode_problems),
        WithJsonSchema({"type": "string", "enum": ["train", "eval"]}),
    ] = Field(description="Whether the window was trained or evaluated.")
    global_step: Annotated[
        int,
        _refusing(step_problems),
        WithJsonSchema({"type": "integer", "minimum": 0, "maximum": MAX_STEP}),
    ] = Field(description="The optimizer step.")
    metrics: Annotated[
        Mapping[str, Any],
        _refusing(metrics_problems),
        WithJsonSchema({"type": "object", "maxProperties": MAX_KEYS}),
    ] = Field(description="Finite numbers by metric key.")
    nonfinite: Annotated[
        Mapping[str, str] | None,
        _refusing(nonfinite_problems),
        WithJsonSchema(
            {
                "type": ["object", "null"],
                "maxProperties": MAX_KEYS,
                "additionalProperties": {"enum": ["nan", "inf", "-inf"]},
            }
        ),
    ] = Field(default=None, description="Keys whose value is NaN or an infinity.")
    coverage: Annotated[Mapping[str, Any] | None, WithJsonSchema({"type": ["object", "null"]})] = (
        Field(default=None, description="World size, missing ranks, steps and scope.")
    )
    dataset: Annotated[
        str | None, WithJsonSchema({"type": ["string", "null"], "maxLength": 200})
    ] = Field(default=None, strict=True, max_length=200, description="The evaluation set's name.")


def parse(payload: object, *, strict: bool = False) -> Payload:
    """See :meth:`Payload.parse`."""
    if not isinstance(payload, Mapping):
        why = f"is {safe_text(payload)}, not a mapping"
        raise PayloadError([Problem("payload.type", "payload", why)])
    problems: list[Problem] = []
    model: PayloadModel | None = None
    try:
        model = PayloadModel.model_validate(dict(payload))
    except ValidationError as error:
        problems += [_problem(detail) for detail in error.errors(include_url=False)]
    metrics = payload.get("metrics")
    finite, nonfinite, bad = _sorted_values(metrics if isinstance(metrics, Mapping) else {})
    problems += bad
    extra = dict((model.model_extra or {}) if model else {})
    if strict:
        problems += [_unknown_section(name) for name in extra]
    if model is None or problems:
        raise _error(problems, payload)
    return Payload(
        mode=model.mode,
        global_step=model.global_step,
        metrics=finite,
        nonfinite={**(model.nonfinite or {}), **nonfinite},
        coverage=model.coverage,
        dataset=model.dataset,
        extra=extra,
    )


def _error(problems: list[Problem], payload: Mapping[Any, Any]) -> PayloadError:
    if any(problem.path == "schema_version" for problem in problems):
        return SchemaVersionError(problems, payload.get("schema_version"), SUPPORTED_VERSIONS)
    return PayloadError(problems)


def _problem(detail: Any) -> Problem:
    section = str(detail["loc"][0]) if detail["loc"] else "payload"
    if detail["type"] == "missing":
        return Problem(f"{section}.missing", section, "is missing")
    code = detail["type"] if "." in detail["type"] else f"{section}.type"
    return Problem(code, section, detail["msg"])


def _unknown_section(name: str) -> Problem:
    return Problem("section.unknown", safe_text(name), "is no section of version 1")


def _sorted_values(
    metrics: Mapping[Any, Any],
) -> tuple[dict[str, float], dict[str, str], list[Problem]]:
    """Finite numbers, non-finite ones by name, and a problem for each other key or value."""
    finite: dict[str, float] = {}
    nonfinite: dict[str, str] = {}
    problems: list[Problem] = []
    if len(metrics) > MAX_KEYS:
        return finite, nonfinite, problems
    for key, value in metrics.items():
        path = f"metrics[{safe_text(key)}]"
        if not well_formed(key):
            problems.append(Problem("key.grammar", path, "is no key: printable ASCII, a/b"))
            continue
        try:
            number = plain_number(value)
        except Rejected as why:
            problems.append(Problem(why.code, path, str(why)))
            continue
        text = nonfinite_name(number)
        if text is None:
            finite[key] = number
        else:
            nonfinite[key] = text
    return finite, nonfinite, problems
