"""Text in the order and the shapes in which it is drawn: ImGui draws the characters of a line from left to right.

Right-to-left scripts are reordered by the Unicode bidirectional algorithm (UAX #9), Arabic letters are joined. The
window is read from left to right, so names in other scripts keep the place that they have in a path or a message.
"""

import re
import unicodedata

from imgui_bundle import imgui

RIGHT_TO_LEFT = ("R", "AL", "AN")
MARK = "\u200e"  # left-to-right: parts of a path stay in their order
CONTROLS = dict.fromkeys(map(ord, "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"))
"""What only says in which order text is to be drawn, and has no shape."""
PAIRS = {"(": ")", "[": "]", "{": "}"}
STAND_INS = "⟦⟧⟨⟩⟪⟫⦃⦄⦅⦆⦇⦈「」『』【】〖〗〘〙〚〛"
"""Other brackets, which the algorithm treats alike: each pair can be told from the others after it."""


def displayed(text: str) -> str:
    """One line as it is to be drawn; measured and cut, it is before."""
    if not is_right_to_left(text):
        return text
    import arabic_reshaper  # most runs show no such text
    from bidi import get_display

    joined = arabic_reshaper.reshape(text)
    if joined != text and _can_draw(joined):  # else letters stay apart
        text = joined
    text, brackets = _with_stand_ins(text)
    drawn = str(get_display(text.replace("/", f"{MARK}/{MARK}"), base_dir="L")).translate(CONTROLS)
    for opening, closing, stand_in_opening, stand_in_closing in brackets:
        if drawn.find(stand_in_closing) < drawn.find(stand_in_opening):  # among letters that go to the left: mirrored
            opening, closing = closing, opening
        drawn = drawn.replace(stand_in_opening, opening).replace(stand_in_closing, closing)
    return drawn


def wrapped(text: str, width: float) -> str:
    """Text of several lines as it is to be drawn where lines end at ``width``; to be called within a frame.

    A text without right-to-left letters is given back as it is: ImGui can wrap it.
    """
    if not is_right_to_left(text):
        return text
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line = ""
        for word in re.findall(r"\S+\s*|\s+", paragraph):
            if line and _wide(line + word) > width:
                lines.append(line)
                line = ""
            for letter in word if not line and _wide(word) > width else [word]:  # a word alone may be too long
                if line and _wide(line + letter) > width:
                    lines.append(line)
                    line = ""
                line += letter
        lines.append(line)
    return "\n".join(displayed(line.rstrip()) for line in lines)


def is_right_to_left(text: str) -> bool:
    """Whether any of it is."""
    return not text.isascii() and any(unicodedata.bidirectional(letter) in RIGHT_TO_LEFT for letter in text)


def _wide(text: str) -> float:
    return imgui.calc_text_size(displayed(text.rstrip())).x


def _can_draw(text: str) -> bool:
    """Whether the fonts have all of its letters; some lack the joined forms."""
    font = imgui.get_font()
    return all(letter.isascii() or font.is_glyph_in_font(ord(letter)) for letter in text)


def _with_stand_ins(text: str) -> tuple[str, list[tuple[str, str, str, str]]]:
    """The text with other brackets in place of its pairs, and for each pair what it was and what is there now."""
    letters, open_ones, brackets = list(text), list[int](), list[tuple[str, str, str, str]]()
    for index, letter in enumerate(text):
        if letter in PAIRS:
            open_ones.append(index)
        elif letter in PAIRS.values():
            while open_ones and PAIRS[text[open_ones[-1]]] != letter:
                open_ones.pop()
            pair = STAND_INS[2 * len(brackets) : 2 * len(brackets) + 2]
            if open_ones and pair and pair[0] not in text and pair[1] not in text:
                opening = open_ones.pop()
                letters[opening], letters[index] = pair
                brackets.append((text[opening], letter, pair[0], pair[1]))
    return "".join(letters), brackets
