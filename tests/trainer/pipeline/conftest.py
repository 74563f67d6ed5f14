from collections.abc import Callable
from pathlib import Path

import pytest

from kilonerf.model_io import Scene


@pytest.fixture(scope="session")
def train() -> Callable[..., tuple[Scene, list[str]]]:
    """Trains a subject; a run that was stopped after some steps is resumed by another. The scene, and what was said."""
    pytest.importorskip("torch", reason="training needs torch")
    from kilonerf.trainer.loop.distributed import World
    from kilonerf.trainer.pipeline.observers import Observer
    from kilonerf.trainer.pipeline.pipeline import Training
    from kilonerf.trainer.pipeline.subject import Subject
    from kilonerf.trainer.settings import TrainingSettings

    class Said(Observer):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def message(self, text: str) -> None:
            self.lines.append(text)

    def train(
        subject: Subject, folder: Path, settings: TrainingSettings, stop_after: int = -1
    ) -> tuple[Scene, list[str]]:
        folder.mkdir(exist_ok=True)
        steps, said = iter(range(stop_after)), Said()

        def interrupted() -> bool:
            return stop_after >= 0 and next(steps, None) is None

        training = Training(subject, settings, folder, world=World(), observer=said, interrupted=interrupted)
        student = training.run()
        assert student is not None
        return training.finished_scene(student), said.lines

    return train
