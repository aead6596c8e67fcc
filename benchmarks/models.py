#!/usr/bin/env python
"""How fast the embedded model is: beside the bare runtime, beside transformers, and what four replies at once cost.

    python benchmarks/models.py [--model 0.5b] [--runs 5] [--tokens 64] [--json FILE]

Everything runs the same weights on the same threads, by turns, so the ratios hold on a machine whose speed changes. The
bare runtime is xllamacpp's server as it comes: one lane, no guesses. Rates are tokens written a second once the prompt
was read; a repair is a reply at temperature 0 that copies most of a program. transformers joins in where torch,
transformers, gguf and accelerate are installed, with the same file, dequantised.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from rich.console import Console
from rich.progress import track
from rich.table import Table

# A script's own folder comes first, and a file in it could hide a package of its name.
sys.path = [p for p in sys.path if p != str(Path(__file__).parent)]

from agent.models.base import Message  # noqa: E402
from agent.models.catalog import find_model  # noqa: E402
from agent.models.llama import physical_cores  # noqa: E402
from agent.models.process import ModelProcess  # noqa: E402
from agent.models.weights import find_weights  # noqa: E402
from agent.write import FENCE, repair_messages  # noqa: E402
from prompts import render  # noqa: E402

RULES = Message("system", render("system", network="no network", packages="Import only what you use."))
TASK = (
    "Read sales.csv and print the revenue of each region, the best region with its share of all in per cent, the mean "
    "price of each product, and how many rows were skipped; write the same to report.txt, and the skipped rows to "
    "skipped.csv. Then draw a bar of stars for each month."
)
PROGRAM = """import csv
from collections import defaultdict
from pathlib import Path

totals = defaultdict(float)
counts = defaultdict(int)
skipped = 0

with open("sales.csv", newline="", encoding="utf-8") as handle:
    reader = csv.DictReader(handle)
    for row in reader:
        name = row["region"].strip().title()
        try:
            amount = float(row["units"]) * float(row["price"])
        except ValueError:
            skipped += 1
            continue
        totals[name] += amount
        counts[name] += 1

for name in sorted(totals, key=totals.get, reverse=True):
    print(f"{name}: {totals[name]:.2f} in {counts[name]} sales")

best = max(totals, key=totals.get)
print(f"The best region is {best} with {totals[best]:.2f}; {skipped} rows were skipped.")
Path("report.txt").write_text("\\n".join(f"{k},{v:.2f}" for k, v in totals.items()))
"""
WRONG = "KeyError: 'region' in line 12. The columns are: Region, units, unit_price."
DRAFT = (RULES, Message("user", TASK))
SIMPLE = (RULES, Message("user", "Print the revenue of each region in sales.csv, the best one, and write report.txt."))
REPAIR = repair_messages(SIMPLE, PROGRAM, WRONG)
WARM = {"temperature": 0.8, "top_p": 0.95}
SURE = {"temperature": 0.0}


@dataclass(frozen=True)
class Timed:
    """What a call wrote and took."""

    tokens: int
    first: float
    """Seconds to the first piece of text."""
    seconds: float
    """In all."""

    @property
    def rate(self) -> float:
        """Tokens a second after the first."""
        return (self.tokens - 1) / (self.seconds - self.first)


Ask = Callable[..., Timed]


class Missing(Exception):
    """Why a peer is left out."""


def sandsmith(model: ModelProcess) -> Ask:
    def ask(messages: Sequence[Message], **options: Any) -> Timed:
        heard: list[float] = []
        began = time.perf_counter()
        replies = model.complete(
            messages, prefill=FENCE, on_token=lambda _: heard.append(time.perf_counter()), **options
        )
        seconds = time.perf_counter() - began
        return Timed(sum(r.usage.completion_tokens for r in replies), heard[0] - began, seconds)

    return ask


@contextlib.contextmanager
def bare(path: Path) -> Iterator[Ask]:
    """xllamacpp's server as it comes, in this process."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as we run it: threads that spin would lose on a busy machine
    import xllamacpp  # pyright: ignore

    params: Any = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.verbosity = str(path), 8192, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = physical_cores()
    server: Any = xllamacpp.Server(params)
    server.handle_metrics()  # it answers, so it runs

    def ask(messages: Sequence[Message], **options: Any) -> Timed:
        turns = [*messages, Message("assistant", FENCE)]
        request = {"messages": [{"role": m.role, "content": m.content} for m in turns], "stream": True, **options}
        heard: list[float] = []
        figures: list[int] = []

        def on_chunk(chunk: Any) -> bool:
            if any(choice["delta"].get("content") for choice in chunk["choices"]):
                heard.append(time.perf_counter())
            if "usage" in chunk:
                figures.append(chunk["usage"]["completion_tokens"])
            return False

        began = time.perf_counter()
        server.handle_chat_completions({**request, "stream_options": {"include_usage": True}}, on_chunk)
        return Timed(sum(figures), heard[0] - began, time.perf_counter() - began)

    yield ask


@contextlib.contextmanager
def transformers(path: Path) -> Iterator[Ask]:
    absent = [
        name for name in ("torch", "transformers", "gguf", "accelerate") if importlib.util.find_spec(name) is None
    ]
    if absent:
        raise Missing(f"not installed: {', '.join(absent)}")
    import torch  # pyright: ignore
    from transformers import AutoModelForCausalLM, AutoTokenizer  # pyright: ignore

    torch.set_num_threads(physical_cores())  # pyright: ignore
    source: dict[str, Any] = {"gguf_file": path.name}
    tokenizer: Any = AutoTokenizer.from_pretrained(path.parent, **source)  # pyright: ignore
    model: Any = AutoModelForCausalLM.from_pretrained(path.parent, **source)  # pyright: ignore

    def ask(messages: Sequence[Message], *, max_tokens: int, **options: Any) -> Timed:
        turns = [{"role": m.role, "content": m.content} for m in messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + FENCE
        prompt = tokenizer(text, return_tensors="pt")
        began = time.perf_counter()
        model.generate(**prompt, max_new_tokens=1, do_sample=False)
        first = time.perf_counter() - began
        reply = model.generate(**prompt, max_new_tokens=max_tokens, do_sample=False)
        tokens = reply.shape[1] - prompt["input_ids"].shape[1]
        return Timed(tokens, first, time.perf_counter() - began - first)

    yield ask


# --- measuring ---


def measure(runs: int, tokens: int, ours: Ask, runtime: Ask, slow: Ask | None) -> dict[str, list[float]]:
    """Numbers of each round by name."""
    found: dict[str, list[float]] = defaultdict(list)
    short = {"max_tokens": tokens}
    whole = {"max_tokens": 400, "stop": ["\n```"]}
    for ask in (ours, runtime):  # all prompts read once
        for messages in (DRAFT, REPAIR):
            ask(messages, max_tokens=1, **SURE)
    for number in track(range(runs), "measuring", console=Console(stderr=True), transient=True):
        found["runtime"].append(runtime(DRAFT, **SURE, **short).rate)
        found["ours"].append(ours(DRAFT, **SURE, **short).rate)
        one, four = (ours(DRAFT, n=n, seed=number, **WARM, **short) for n in (1, 4))
        found["four"].append((four.seconds / four.tokens * 4) / (one.seconds / one.tokens))
        found["first"].append(one.first)
        found["plain repair"].append(runtime(REPAIR, **SURE, **whole).rate)
        found["repair"].append(ours(REPAIR, **SURE, **whole).rate)
        if slow is not None and number == 0:
            found["transformers"].append(slow(DRAFT, max_tokens=min(tokens, 24)).rate)
    return found


def starts(path: Path, sha256: str) -> tuple[float, float]:
    """Seconds from the question to the first token in a fresh process: without the state of the rules, and with it."""
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, {"SANDSMITH_CACHE_DIR": cache}):
        for _ in range(2):
            model = ModelProcess(path, sha256=sha256)
            seconds.append(sandsmith(model)((RULES, Message("user", "Print 6 * 7.")), max_tokens=2, **SURE).first)
            model.close()
    return seconds[0], seconds[1]


def report(found: dict[str, list[float]]) -> Table:
    of = {name: statistics.median(values) for name, values in found.items()}

    def ratio(name: str, other: str) -> float:
        """The median of the ratios of each round."""
        return statistics.median(a / b for a, b in zip(found[name], found[other], strict=False))

    table = Table("", "sandsmith", "beside", "ratio", "wanted", title="the embedded model, medians")
    writing, runtime = f"{of['ours']:.1f}", f"{of['runtime']:.1f} xllamacpp"
    table.add_row("a draft, tokens/s", writing, runtime, f"{ratio('ours', 'runtime'):.2f}", ">= 0.95")
    if "transformers" in of:
        slow = f"{of['transformers']:.1f} transformers"
        table.add_row("", writing, slow, f"{ratio('ours', 'transformers'):.1f}", ">= 5")
    repair, plain = f"{of['repair']:.1f}", f"{of['plain repair']:.1f} without guesses"
    table.add_row("a repair, tokens/s", repair, plain, f"{ratio('repair', 'plain repair'):.2f}", ">= 1.5")
    table.add_row("four drafts", "", "one draft", f"{of['four']:.2f}", "<= 2.2")
    table.add_row("first token, prompt read", f"{of['first']:.2f} s", "", "", "<= 0.3 s")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="qwen2.5-coder-1.5b", help="an embedded model (default the 1.5B)")
    parser.add_argument("--runs", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--tokens", type=int, default=64, help="tokens of a draft (default 64)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    options = parser.parse_args()
    known = find_model(options.model)
    if known is None:
        parser.error(f"no embedded model is called {options.model!r}")
    console, path = Console(), find_weights(known)
    with contextlib.ExitStack() as stack:
        slow = None
        try:
            slow = stack.enter_context(transformers(path))
        except Missing as reason:
            console.print(f"left out: transformers: {reason}", highlight=False, markup=False)
        runtime = stack.enter_context(bare(path))
        model = stack.enter_context(contextlib.closing(ModelProcess(path)))
        found = measure(options.runs, options.tokens, sandsmith(model), runtime, slow)
    console.print(report(found))
    cold, warm = starts(path, known.sha256)
    console.print(
        f"first token in a fresh process after {cold:.2f} s; {warm:.2f} s where an earlier one read the rules",
        highlight=False,
    )
    if options.json:
        options.json.write_text(json.dumps({**found, "starts": [cold, warm]}))


if __name__ == "__main__":
    main()
