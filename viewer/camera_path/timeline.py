"""The timeline at the lower edge of the picture: buttons, the track, and numbers of the selected key and the path."""

import math
from typing import Protocol

from imgui_bundle import imgui

from kilonerf.model_io.camera.interchange import PathFormat

from .. import theme
from ..actions import ADD_KEY, PLAY
from ..panels import widgets
from ..rectangle import Rectangle
from .editor import PathEditor, roll_of
from .presets import PRESETS
from .track import HEIGHT as TRACK_HEIGHT
from .track import Track

WIDE = 52.0  # font heights: with the buttons of a key beside each other
NARROW = 17.0  # font heights: without the play button
NUMBERS = 27.0  # font heights: with a key's lens and roll
ROWS = 2  # beside the track
EXPORTS: tuple[PathFormat, ...] = ("nerfstudio", "instant-ngp", "lichtfeld")
FOV_RANGE = (5.0, 150.0)  # degrees


class Commands(Protocol):
    """What the timeline asks for that is not about the path alone."""

    inset: bool

    def add_key(self) -> None:
        """A key of the current view at the end of the path."""
        ...

    def insert_key(self) -> None:
        """A key of the current view at the playhead."""
        ...

    def overwrite_key(self) -> None:
        """Give the selected key the current view."""
        ...

    def toggle_playing(self) -> None:
        """Play or stop."""
        ...

    def use_preset(self, name: str) -> None:
        """Replace the path by a preset."""
        ...

    def use_flight(self) -> None:
        """Replace the path by the last recorded flight."""
        ...

    @property
    def has_flight(self) -> bool:
        """Whether a flight was recorded."""
        ...

    def save(self) -> None:
        """Save the path under the next free name."""
        ...

    def export(self, to: PathFormat) -> None:
        """Save the path for another program."""
        ...

    def open(self) -> None:
        """Open the file dialog."""
        ...

    def render(self) -> None:
        """Render the path's video."""
        ...


class Timeline:
    """Draws the timeline; keys of the keyboard that only make sense with it are read here, too."""

    def __init__(self, editor: PathEditor, commands: Commands) -> None:
        self._editor, self._commands = editor, commands
        self.track = Track(editor)

    @staticmethod
    def height() -> float:
        """In ImGui's units."""
        em, style = theme.font_height(), imgui.get_style()
        row = em + 2.0 * style.frame_padding.y + style.item_spacing.y
        return float(round(ROWS * row + (TRACK_HEIGHT + 1.0) * em))

    def draw(self, area: Rectangle, *, has_scene: bool) -> None:
        """Draw it; without a scene nothing can be done."""
        em = imgui.get_font_size()
        imgui.set_next_window_pos(imgui.ImVec2(area.x, area.y))
        imgui.set_next_window_size(imgui.ImVec2(area.width, area.height))
        flags = (
            imgui.WindowFlags_.no_decoration.value
            | imgui.WindowFlags_.no_move.value
            | imgui.WindowFlags_.no_saved_settings.value
            | imgui.WindowFlags_.no_bring_to_front_on_focus.value
            | imgui.WindowFlags_.no_focus_on_appearing.value
            | imgui.WindowFlags_.no_scroll_with_mouse.value
        )
        imgui.push_style_var(imgui.StyleVar_.window_padding, imgui.ImVec2(0.6 * em, 0.5 * em))
        imgui.push_style_var(imgui.StyleVar_.window_min_size, imgui.ImVec2(1.0, 1.0))
        imgui.begin("timeline", None, flags)
        imgui.begin_disabled(not has_scene)
        imgui.push_item_flag(imgui.ItemFlags_.no_tab_stop.value, True)  # Tab is the panel's
        self._buttons(area.width)
        self.track.draw()
        self._numbers(area.width)
        imgui.pop_item_flag()
        imgui.end_disabled()
        imgui.end()
        imgui.pop_style_var(2)

    def shortcuts(self) -> None:
        """Keys that edit the path."""
        io, editor, pressed = imgui.get_io(), self._editor, imgui.is_key_pressed
        if io.want_text_input or imgui.is_popup_open("", imgui.PopupFlags_.any_popup.value):
            return
        if io.key_ctrl:
            if pressed(imgui.Key.z):
                (editor.redo if io.key_shift else editor.undo)()
            elif pressed(imgui.Key.y):
                editor.redo()
            elif pressed(imgui.Key.d, False):
                editor.duplicate()
            return
        if pressed(imgui.Key.delete, False) or pressed(imgui.Key.backspace, False):
            editor.delete()
        if pressed(imgui.Key.i, False):
            self._commands.insert_key()
        if pressed(imgui.Key.u, False):
            self._commands.overwrite_key()
        for key, direction in ((imgui.Key.comma, -1), (imgui.Key.period, 1)):
            if pressed(key):
                editor.step_key(direction)
                self.track.sought = True

    def _buttons(self, width: float) -> None:
        editor, commands = self._editor, self._commands
        has_path, has_key = editor.duration > 0.0, editor.selected is not None
        if width >= NARROW * imgui.get_font_size():
            if _button("Stop###play" if editor.playing else "Play###play", PLAY.tooltip("Play the path"), has_path):
                commands.toggle_playing()
            _next()
        if _button("Add key", ADD_KEY.tooltip("A key of the current view at the end of the path"), accent=True):
            commands.add_key()
        _next()
        if width >= WIDE * imgui.get_font_size():
            self._key_buttons(has_key)
        elif _button("Key ...", "What can be done with the selected key"):
            imgui.open_popup("key menu")
        if imgui.begin_popup("key menu"):
            self._key_menu(has_key)
            _close_by_escape()
            imgui.end_popup()
        _next()
        if _button("Path ...", "Presets, a recorded flight, save, open, clear"):
            imgui.open_popup("path menu")
        if imgui.begin_popup("path menu"):
            self._path_menu()
            _close_by_escape()
            imgui.end_popup()
        right = imgui.calc_text_size("Render").x + 2.0 * imgui.get_style().frame_padding.x
        shown = f"{editor.playhead:.2f} / {editor.duration:.2f} s"
        text = imgui.calc_text_size(shown).x + imgui.get_style().item_spacing.x
        edge = width - imgui.get_style().window_padding.x
        imgui.same_line()
        if imgui.get_cursor_pos_x() + text + right <= edge:
            imgui.set_cursor_pos_x(edge - right - text)
            imgui.align_text_to_frame_padding()
            imgui.text_disabled(shown)
            imgui.same_line()
        if imgui.get_cursor_pos_x() + right > edge + 1.0:
            imgui.new_line()  # no place: it is in the Path menu, too
            return
        imgui.set_cursor_pos_x(edge - right)
        if _button("Render", "Save the path; render it as the Recording section says", has_path, accent=True):
            commands.render()

    def _key_buttons(self, has_key: bool) -> None:
        editor, commands = self._editor, self._commands
        if _button("Insert", "A key of the current view at the playhead (I)", editor.path is not None):
            commands.insert_key()
        _next()
        if _button("Overwrite", "Give the selected key the current view (U)", has_key):
            commands.overwrite_key()
        _next()
        if _button("Duplicate", "The selected key once more: the camera rests (Ctrl+D)", has_key):
            editor.duplicate()
        _next()
        if _button("Delete", "Remove the selected key (Del)", has_key):
            editor.delete()
        _next()
        if _button("Undo", "Take back the last change of the path (Ctrl+Z)", editor.can_undo):
            editor.undo()
        _next()
        if _button("Redo", "Do it again (Ctrl+Shift+Z)", editor.can_redo):
            editor.redo()

    def _key_menu(self, has_key: bool) -> None:
        editor, commands = self._editor, self._commands
        if imgui.menu_item_simple("Insert", "I", enabled=editor.path is not None):
            commands.insert_key()
        if imgui.menu_item_simple("Overwrite", "U", enabled=has_key):
            commands.overwrite_key()
        if imgui.menu_item_simple("Duplicate", "Ctrl+D", enabled=has_key):
            editor.duplicate()
        if imgui.menu_item_simple("Delete", "Del", enabled=has_key):
            editor.delete()
        imgui.separator()
        if imgui.menu_item_simple("Undo", "Ctrl+Z", enabled=editor.can_undo):
            editor.undo()
        if imgui.menu_item_simple("Redo", "Ctrl+Shift+Z", enabled=editor.can_redo):
            editor.redo()

    def _path_menu(self) -> None:
        editor, commands = self._editor, self._commands
        if imgui.menu_item_simple("Render", enabled=editor.duration > 0.0):
            commands.render()
        imgui.separator()
        imgui.text_disabled("From the current view")
        for name in PRESETS:
            if imgui.menu_item_simple(name):
                commands.use_preset(name)
        imgui.separator()
        if imgui.menu_item_simple("Last recorded flight", enabled=commands.has_flight):
            commands.use_flight()
        if imgui.menu_item_simple("Open ..."):
            commands.open()
        if imgui.menu_item_simple("Save", enabled=editor.path is not None):
            commands.save()
        if imgui.begin_menu("Save for", editor.path is not None):
            for name in EXPORTS:
                if imgui.menu_item_simple(name):
                    commands.export(name)
            imgui.end_menu()
        imgui.separator()
        if imgui.menu_item_simple("Even speed", selected=editor.even):
            editor.set_even(not editor.even)
        closed = editor.path is not None and editor.path.closed
        if imgui.menu_item_simple("Loop", selected=closed, enabled=editor.path is not None):
            editor.set_closed(not closed)
        if imgui.menu_item_simple("Preview in a corner", selected=commands.inset):
            commands.inset = not commands.inset
        imgui.separator()
        if imgui.menu_item_simple("Clear", enabled=editor.path is not None):
            editor.load(None)

    def _numbers(self, width: float) -> None:
        editor = self._editor
        if editor.path is None:
            imgui.align_text_to_frame_padding()
            imgui.text_disabled(f"Fly somewhere and press {ADD_KEY.shown}; fly on and press it again.")
            return
        em = imgui.get_font_size()
        self._key_numbers(width)
        if width >= WIDE * em:
            imgui.same_line(0.0, 1.6 * em)
            self._path_numbers()

    def _key_numbers(self, width: float) -> None:
        editor, i = self._editor, self._editor.selected
        if i is None:
            imgui.align_text_to_frame_padding()
            imgui.text_disabled("No key selected")
            return
        key = editor.keys[i]
        imgui.align_text_to_frame_padding()
        imgui.text_colored(theme.SELECTED, f"Key {i + 1}")
        imgui.same_line()
        imgui.begin_disabled(i == 0)
        tooltip = "When the camera is here. With even speed, a key that is moved keeps its time (a dot marks it)."
        time = self._number("Time", editor.times[i], 0.01, "%.2f s", (0.0, 36000.0), tooltip)
        imgui.end_disabled()
        if time is not None:
            editor.move(time)
        if editor.even and key.timed:
            imgui.same_line()
            if imgui.small_button("free"):
                editor.set_timed(False)
            widgets.tip("Let the even speed decide its time again")
        if width < NUMBERS * imgui.get_font_size():
            return
        imgui.same_line()
        lens = self._number("Lens", math.degrees(key.fov_y), 0.1, "%.1f deg", FOV_RANGE, "Vertical field of view")
        if lens is not None:
            editor.set_lens(math.radians(lens))
        imgui.same_line()
        roll = round(math.degrees(roll_of(key)), 3) + 0.0  # no -0.0
        new = self._number("Roll", roll, 0.2, "%.1f deg", (-180.0, 180.0), "About the line of sight; 0 is upright")
        if new is not None:
            editor.roll(math.radians(new - roll))

    def _path_numbers(self) -> None:
        editor, commands = self._editor, self._commands
        seconds = self._number("Length", editor.duration, 0.02, "%.2f s", (0.05, 36000.0), "Seconds of the whole path")
        if seconds is not None:
            editor.set_duration(seconds)
        imgui.same_line()
        tooltip = "Equal ways in equal times; without it, each key has a time of its own."
        even = widgets.switch("Even", editor.even, tooltip)
        if even != editor.even:
            editor.set_even(even)
        imgui.same_line()
        closed = editor.path is not None and editor.path.closed
        wanted = widgets.switch("Loop", closed, "Come back to the first key; the video repeats without a seam.")
        if wanted != closed:
            editor.set_closed(wanted)
        imgui.same_line()
        tooltip = "Show the path in a corner of the picture, and leave the view as it is."
        commands.inset = widgets.switch("Inset", commands.inset, tooltip)

    def _number(
        self, name: str, value: float, speed: float, shown: str, bounds: tuple[float, float], tooltip: str
    ) -> float | None:
        """A number to drag or type (double click); its new value if it changed. A drag is one step of undo."""
        imgui.align_text_to_frame_padding()
        imgui.text_disabled(name)
        imgui.same_line()
        imgui.set_next_item_width(4.9 * imgui.get_font_size())
        flags = imgui.SliderFlags_.always_clamp.value
        changed, new = imgui.drag_float(f"##{name}", value, speed, *bounds, shown, flags)
        if imgui.is_item_activated():
            self._editor.begin_gesture()
        if imgui.is_item_deactivated():
            self._editor.end_gesture()
        widgets.tip(f"{tooltip}. Drag, or double-click to type.".replace("..", "."))
        return new if changed else None


def _close_by_escape() -> None:
    if imgui.is_key_pressed(imgui.Key.escape, False):
        imgui.close_current_popup()


def _next() -> None:
    imgui.same_line(0.0, 0.35 * imgui.get_font_size())


def _button(text: str, tooltip: str, enabled: bool = True, *, accent: bool = False) -> bool:
    imgui.begin_disabled(not enabled)
    if accent:
        imgui.push_style_color(imgui.Col_.button, theme.with_alpha(theme.ACCENT, 0.85))
        imgui.push_style_color(imgui.Col_.button_hovered, theme.ACCENT)
        imgui.push_style_color(imgui.Col_.text, theme.ON_ACCENT)
    pressed = imgui.button(text)
    if accent:
        imgui.pop_style_color(3)
    imgui.end_disabled()
    widgets.tip(tooltip)
    return pressed
