"""An embedding model is loaded when the first text needs it, and not before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..contract.errors import MissingExtraError

__all__ = ["SentenceTransformerEmbedder"]


class SentenceTransformerEmbedder:
    """Sentence embeddings by sentence-transformers, for `DescriptionMonitor`.

    Args:
        model: a directory with the model, or its name on the Hub. A name is only looked up in the
            local cache unless ``download`` is set: eight ranks do not fetch it at once by surprise.
        device: where it runs, such as ``"cuda:1"``; the library chooses by default. The CPU leaves
            the accelerator's memory to training.
        batch_size: how many texts at once.
        download: whether a model that is not here may be fetched.
    """

    def __init__(
        self,
        model: str,
        device: str | None = None,
        batch_size: int = 64,
        *,
        download: bool = False,
    ) -> None:
        self.model = model
        self.device = device
        self.batch_size = batch_size
        self.download = download
        self._loaded: Any = None

    def __call__(self, texts: Sequence[str], /) -> Any:
        """Float vectors ``[n, d]``, not normalised.

        Raises:
            MissingExtraError: sentence-transformers is not installed.
        """
        if self._loaded is None:
            self._loaded = self._load()
        readable = [text.encode(errors="replace").decode() for text in texts]  # half characters
        return self._loaded.encode(
            readable, batch_size=self.batch_size, show_progress_bar=False, convert_to_numpy=True
        )

    def _load(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise MissingExtraError("descriptions", "SentenceTransformerEmbedder") from error
        return SentenceTransformer(
            self.model, device=self.device, local_files_only=not self.download
        )
