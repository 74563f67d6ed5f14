from typing import Any

import pytest
from fake_renderer import FakeRenderer

from kilonerf.model_io import Scene, save_scene
from kilonerf.viewer import command_options, render_job


class MadeRenderers(list[FakeRenderer]):
    """The fake renderers that were made, newest last; `prepare` alters each before it is used."""

    def prepare(self, renderer: FakeRenderer) -> None:
        """Nothing by default."""

    def create(self, scene: Scene, backend: str = "auto", **how: Any) -> FakeRenderer:
        renderer = FakeRenderer(scene, backend, **how)
        self.prepare(renderer)
        self.append(renderer)
        return renderer


@pytest.fixture
def fake_renderers(monkeypatch):
    made = MadeRenderers()
    for module in (render_job, command_options):
        monkeypatch.setattr(module, "create_renderer", made.create)
    return made


@pytest.fixture
def scene_file(toy_scene, tmp_path):
    """The small scene as a file, alone in its folder."""
    (tmp_path / "in").mkdir()
    save_scene(toy_scene, tmp_path / "in" / "toy.knf")
    return tmp_path / "in" / "toy.knf"
