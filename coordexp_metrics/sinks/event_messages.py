"""TensorBoard's own messages, for what a file holds once; the only place that knows the package.

They are made of its public protobuf modules. Neither torch nor TensorFlow is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..contract.errors import MissingExtraError
from .charts import Chart

__all__ = ["EventMessages"]

WRITER = "coordexp_metrics"


class EventMessages:
    """Makes the bytes of ``Event`` messages.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, needed_by: str) -> None:
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
            from tensorboard.plugins.custom_scalar import layout_pb2
            from tensorboard.plugins.custom_scalar import metadata as custom
            from tensorboard.plugins.scalar import metadata as scalar
            from tensorboard.plugins.text import metadata as text
        except ImportError as error:
            raise MissingExtraError("tensorboard", needed_by) from error
        self._events, self._summaries = event_pb2, summary_pb2
        self._tensors, self._types = tensor_pb2, types_pb2
        self._layouts, self._custom, self._scalar, self._text = layout_pb2, custom, scalar, text

    def opening(self) -> bytes:
        """What every file starts with."""
        source = self._events.SourceMetadata(writer=WRITER)
        version = "brain.Event:2"
        return self._bytes(time.time(), 0, file_version=version, source_metadata=source)

    def start(self, wall_time: float, step: int) -> bytes:
        """The start of an attempt: what earlier ones say of ``step`` and later is hidden."""
        log = self._events.SessionLog(status=self._events.SessionLog.START)
        return self._bytes(wall_time, step, session_log=log)

    def text(self, tag: str, page: str, wall_time: float, step: int) -> bytes:
        """A page on the Text tab."""
        metadata = self._text.create_summary_metadata(display_name=tag, description="")
        return self._tensor(tag, metadata, page.encode(), wall_time, step)

    def layout(self, charts: Sequence[Chart], wall_time: float, step: int) -> bytes:
        """The charts of the Custom Scalars tab. The latest layout of a run is the one shown."""
        layout = self._layouts.Layout()
        for title in dict.fromkeys(chart.category for chart in charts):
            category = layout.category.add(title=title)
            for chart in charts:
                if chart.category == title:
                    shown = category.chart.add(title=chart.title)
                    shown.multiline.tag.append(chart.regex)
        metadata = self._custom.create_summary_metadata()
        content = layout.SerializeToString()
        return self._tensor(self._custom.CONFIG_SUMMARY_TAG, metadata, content, wall_time, step)

    def scalars(
        self, values: Mapping[str, tuple[float, str | None]], wall_time: float, step: int
    ) -> bytes:
        """Values by tag, each with the page that describes it, or None if it is known."""
        summary = self._summaries.Summary()
        for tag, (number, page) in values.items():
            value = summary.value.add(tag=tag, simple_value=number)
            if page is not None:
                metadata = self._scalar.create_summary_metadata(tag, page)
                metadata.data_class = self._summaries.DATA_CLASS_SCALAR
                value.metadata.CopyFrom(metadata)
        return self._bytes(wall_time, step, summary=summary)

    def _tensor(
        self, tag: str, metadata: Any, content: bytes, wall_time: float, step: int
    ) -> bytes:
        metadata.data_class = self._summaries.DATA_CLASS_TENSOR
        tensor = self._tensors.TensorProto(dtype=self._types.DT_STRING, string_val=[content])
        summary = self._summaries.Summary()
        summary.value.add(tag=tag, metadata=metadata, tensor=tensor)
        return self._bytes(wall_time, step, summary=summary)

    def _bytes(self, wall_time: float, step: int, **what: Any) -> bytes:
        event = self._events.Event(wall_time=wall_time, step=step, **what)
        message: bytes = event.SerializeToString()
        return message
