"""ImGui without a window and without OpenGL: the cheapest way to test panels."""

from imgui_bundle import imgui

from kilonerf.viewer.appearance import folding

SECTIONS = ("Overlays", "Camera", "View", "Recording", "Window")
SUBSECTIONS = ("Rendering: Advanced", "Recording: More for videos", "Recording: Screenshots")
SIZE = (1000.0, 1400.0)
STEP = 1.0 / 60.0


def open_sections():
    """Unfold the side panel, so that tests find its controls."""
    folding.sections.restore(dict.fromkeys((*SECTIONS, *SUBSECTIONS), True))


class ImGuiFrames:
    """A context of its own; ``frame(draw)`` runs one frame; events act on the next ones."""

    def __init__(self):
        self._context = imgui.create_context()
        folding.sections.restore({})  # of another test
        self.io = imgui.get_io()
        self.io.set_ini_filename("")
        self.io.display_size = imgui.ImVec2(*SIZE)
        self.io.delta_time = STEP
        self.io.backend_flags |= imgui.BackendFlags_.renderer_has_textures.value
        self.items = {}

    def close(self):
        imgui.destroy_context(self._context)

    def frame(self, draw):
        imgui.new_frame()
        value = draw()
        imgui.render()
        return value

    def frames(self, draw, count=3):
        value = None
        for _ in range(count):
            value = self.frame(draw)
        return value

    def move(self, draw, x, y):
        self.io.add_mouse_pos_event(x, y)
        return self.frames(draw)

    def click(self, draw, x, y, button=0):
        self.move(draw, x, y)
        for down in (True, False):
            self.io.add_mouse_button_event(button, down)
            self.frames(draw)
        return self.frames(draw)


class ItemPlaces:
    """Remembers where controls were drawn, by label, so that tests can click on them as a user does."""

    CONTROLS = (
        "checkbox",
        "button",
        "combo",
        "slider_float",
        "slider_int",
        "selectable",
        "collapsing_header",
        "input_text",
    )

    def __init__(self, monkeypatch):
        self.places = {}
        for name in self.CONTROLS:
            monkeypatch.setattr(imgui, name, self._recording(getattr(imgui, name)))

    def _recording(self, control):
        def draw(label, *arguments, **keywords):
            value = control(label, *arguments, **keywords)
            low, high = imgui.get_item_rect_min(), imgui.get_item_rect_max()
            self.places[label] = (low.x, low.y, high.x, high.y)
            return value

        return draw

    def at(self, label, x=0.5, y=0.5):
        """A point on the control, by shares of its width and height."""
        left, top, right, bottom = self.places[label]
        return round(left + x * (right - left)), round(top + y * (bottom - top))
