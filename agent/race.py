"""Programs that run side by side, until one of them passes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from typing import TypeVar

from .policy import Trial

__all__ = ["Needless", "Race", "in_background"]

_T = TypeVar("_T")


class Needless(Exception):
    """Another program has passed already."""


@dataclass(slots=True)
class Race:
    """Runs trials by `run`, each in a thread. `over` is called when one has passed, from its thread; `run` may raise
    `Needless` from then on."""

    run: Callable[[Trial], Trial]
    over: Callable[[], None]
    finished: list[Trial] = field(default_factory=list[Trial])
    """Those that have come to their end; one that has passed comes after those that were stopped for it."""
    _running: dict[Future[Trial], Trial] = field(default_factory=dict[Future[Trial], Trial])

    def start(self, trial: Trial) -> None:
        """Run `trial` beside the others; one without a program has come to its end."""
        if trial.program is None:
            self.finished.append(trial)
            return
        running = in_background(lambda: self.run(trial))
        self._running[running] = trial
        running.add_done_callback(lambda _: self.over() if self.passed else None)

    @property
    def goes_on(self) -> bool:
        return bool(self._running) and not self.passed

    @property
    def running(self) -> int:
        """How many of them nobody has seen the end of."""
        return len(self._running)

    @property
    def passed(self) -> bool:
        """Whether one has passed, also if nobody has waited for it yet."""
        ended = [future for future in tuple(self._running) if future.done() and not future.exception()]
        return any(trial.passed for trial in (*(future.result() for future in ended), *self.finished))

    def wait(self, seconds: float | None = None) -> None:
        """Wait until one has come to its end, or for so many seconds. Raises what `run` raised."""
        for future in wait([*self._running], seconds, FIRST_COMPLETED).done:
            self._collect(future)

    def _collect(self, future: Future[Trial]) -> None:
        trial = self._running.pop(future)
        if isinstance(future.exception(), Needless):
            self.finished.insert(0, replace(trial, problem="another program passed first"))
        else:
            self.finished.append(future.result())

    def end(self) -> None:
        """Wait until all have come to their end. Raises what `run` raised, unless one has passed."""
        won = self.passed
        for future in wait([*self._running]).done:
            if not won or isinstance(future.exception(), Needless | None):
                self._collect(future)


def in_background(call: Callable[[], _T]) -> Future[_T]:
    """The result of `call`, made in a thread that does not keep the process alive."""
    future: Future[_T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="sandsmith-model", daemon=True).start()
    return future
