"""The dialog that asks for what an import needs."""

from dataclasses import replace
from pathlib import Path

from imgui_bundle import imgui

from .. import theme
from ..panels import widgets
from ..panels.file_browser import CHECKPOINTS
from .buttons import do_copy_or_cancel
from .child import is_installed
from .importing import ImportPlan
from .path_fields import PathFields

MISSING = "Importing needs torch, which is not installed here: pip install 'kilonerf-view[import]'"


class ImportDialog:
    """Shows a plan; :meth:`draw` returns it, as changed, when it is to be done."""

    def __init__(self) -> None:
        self._plan: ImportPlan | None = None
        self._error = ""
        self._fields = PathFields()
        self._dialog = widgets.Dialog("import", 46.0)
        self._can = False

    def show(self, plan: ImportPlan, error: str = "") -> None:
        """Show it from the next frame on, with what went wrong the last time."""
        self._plan, self._error = plan, error
        self._dialog.open()
        self._can = is_installed("torch")

    def draw(self) -> ImportPlan | None:
        """Draw it if it is open; what is to be imported."""
        plan = self._plan
        if plan is None:
            return None
        with self._dialog.drawn(f"Import {plan.checkpoint.name}") as is_open:
            if not is_open:
                return None
            self._plan = plan = self._rows(plan)
            self._messages(plan)
            pressed, done = self._buttons(plan)
            browsing = self._fields.draw_browser()
            if pressed or done or (imgui.is_key_pressed(imgui.Key.escape, False) and not browsing):
                imgui.close_current_popup()
        return plan if pressed else None

    def _rows(self, plan: ImportPlan) -> ImportPlan:
        fields = self._fields
        occupancy = fields.file("Occupancy", plan.occupancy, "The checkpoint's occupancy.pth", CHECKPOINTS)
        box = fields.file("Box", plan.box, "The data set's bbox.txt", (".txt",))
        output = fields.output("Save as", plan.output, "The scene to write, a .knf file")
        plan = replace(plan, occupancy=occupancy, box=box, output=output)
        if widgets.subsection("If there is no YAML file", "Import"):
            for name, tooltip in (
                ("resolution", "Networks along x, y and z, as 16 16 16."),
                ("near", "Depth of a ray's first sample."),
                ("far", "Depth of a ray's last sample."),
                ("samples", "Samples of a ray; 384 in the paper."),
            ):
                widgets.label(name.capitalize(), tooltip)
                _, value = imgui.input_text(f"##import {name}", getattr(plan, name))
                plan = replace(plan, **{name: value})
        return plan

    def _messages(self, plan: ImportPlan) -> None:
        if not self._can or self._error:
            widgets.paragraph(self._error if self._can else MISSING, theme.BAD)
        elif Path(plan.output).is_file():
            widgets.paragraph("A scene of this name exists; it will be replaced.", theme.DIM)

    def _buttons(self, plan: ImportPlan) -> tuple[bool, bool]:
        """Whether to import, and whether the dialog is done with otherwise."""
        return do_copy_or_cancel("Import##do it", plan.command, "import", can_do=self._can)
