"""A stage from where it is to its end, step by step: progress is told, saved now and then, and kept on an interrupt."""

import time
from collections.abc import Callable
from typing import Protocol

from ..loop.distributed import World
from .observers import Observer
from .store import Resumable, StageStore

_SAVE_EVERY = 60.0  # seconds between saves; or, if longer, this many times as long as a save takes
_SAVE_SHARE = 50.0
_AGREE_EVERY = 25  # steps, where several processes must agree on saving


class Stage(Resumable, Protocol):
    """What is made step by step."""

    steps: int
    rays: int
    samples: int

    def step(self, step: int) -> dict[str, float]: ...  # noqa: D102
    def finish(self) -> None: ...  # noqa: D102


def run_stage(
    stage: Stage,
    name: str,
    store: StageStore,
    *,
    world: World,
    observer: Observer,
    interrupted: Callable[[], bool],
    look_on: Callable[[int], None] = lambda step: None,
) -> None:
    """Run what is left of a stage.

    Args:
        stage: to run; its product is not kept here.
        name: of the stage.
        store: where its progress is, and goes; told how long it takes.
        world: processes that run it together.
        observer: is told how it goes.
        interrupted: asked after each step; True: progress is saved and KeyboardInterrupt raised.
        look_on: called after steps, in all processes.

    Raises:
        TrainingError, CheckpointError: its progress cannot be read.
        OutputError: it cannot be saved.
        KeyboardInterrupt: it was interrupted.
    """
    first, before = store.resume(stage, name, world)
    observer.begin(name, first, stage.steps)
    began = saved = time.perf_counter()
    saving = 0.0
    for step in range(first, stage.steps):
        metrics = stage.step(step)
        now = time.perf_counter()
        store.seconds[name] = before + now - began
        observer.step(name, step, metrics, stage.rays, stage.samples)
        if world.size > 1 and step % _AGREE_EVERY:
            continue
        stop = world.any(interrupted())
        if stop or world.any(now - saved > max(_SAVE_EVERY, _SAVE_SHARE * saving)):
            store.save_progress(stage, name, step + 1)
            saved = time.perf_counter()
            saving = saved - now
        if stop:
            raise KeyboardInterrupt
        look_on(step)
    stage.finish()
    observer.end(name, stage.steps)
