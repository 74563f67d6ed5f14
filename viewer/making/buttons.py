"""The row of buttons below a dialog for something that a command does as well."""

from imgui_bundle import imgui

from ..panels import widgets


def do_copy_or_cancel(text: str, command: str, name: str, *, can_do: bool) -> tuple[bool, bool]:
    """Draw the buttons.

    Args:
        text: of the one that does it.
        command: what does the same in a terminal; it can be copied.
        name: of the dialog.
        can_do: whether the first button can be pressed.

    Returns:
        whether to do it, and whether the dialog is done with otherwise.
    """
    imgui.spacing()
    imgui.begin_disabled(not can_do)
    pressed = imgui.button(text)
    imgui.end_disabled()
    imgui.same_line()
    if imgui.button(f"Copy the command##{name}"):
        imgui.set_clipboard_text(command)
        return pressed, True
    widgets.tip(command)
    imgui.same_line()
    return pressed, imgui.button(f"Cancel##{name}")
