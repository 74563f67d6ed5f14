"""At which level of detail an octree field is shown."""

from imgui_bundle import imgui

from kilonerf.model_io import OctreeScene, Scene
from kilonerf.model_io.streaming.address import Location

from ..panels import widgets
from ..scene_loading import LoadedScene, SceneLoader


class LevelOfDetail:
    """Shows an octree field up to one of its levels, as if its file ended there.

    Args:
        loader: is given what is to be shown.
    """

    def __init__(self, loader: SceneLoader) -> None:
        self._loader = loader
        self._whole: OctreeScene | None = None
        self._shown: Scene | None = None

    def choose(self, scene: OctreeScene, path: Location, level: int) -> None:
        """Show it up to ``level``; camera and all else stay."""
        whole = self._of(scene)
        if level != scene.depth:
            self._shown = whole if level == whole.depth else whole.upto(level)
            self._loader.give(LoadedScene(path, self._shown, again=True))

    def draw(self, scene: Scene | None, path: Location | None) -> None:
        """Draw a slider over the scene's levels, where it has more than one."""
        if not isinstance(scene, OctreeScene) or path is None:
            return
        whole = self._of(scene)
        streamed = self._loader.streamed
        if whole.depth == whole.first_level or (streamed is not None and streamed.running):
            return
        tip = "The finest level of the octree that is shown; figures are those of a file that ends there"
        widgets.label("Detail", tip)
        changed, level = imgui.slider_int("##Detail", scene.depth, whole.first_level, whole.depth, "level %d")
        widgets.tip(tip)
        if changed:
            self.choose(scene, path, min(max(level, whole.first_level), whole.depth))

    def _of(self, scene: OctreeScene) -> OctreeScene:
        """The whole of what is shown."""
        if self._whole is None or scene is not self._shown:
            self._whole = self._shown = scene
        return self._whole
