"""The results of a GPU check for people: at most 30 short lines."""

from collections.abc import Mapping
from typing import Any

MOST_LINES = 30
LONGEST_LINE = 160


def table(document: Mapping[str, Any]) -> str:
    """What failed first, with the ids of failing tests; then what was skipped and why; then figures, as many as fit."""
    device = document.get("device", {}).get("name", "no device")
    sections: Mapping[str, Mapping[str, Any]] = document["sections"]
    by_status: dict[str, list[str]] = {"failed": [], "skipped": [], "done": []}
    for name, result in sections.items():
        by_status[result["status"]] += _lines(name, result)
    counts = ", ".join(
        f"{sum(result['status'] == status for result in sections.values())} {status}" for status in by_status
    )
    lines = [f"{device}, commit {document['commit']}: {counts}"]
    lines += [f"FAILED  {line}" for line in by_status["failed"]]
    lines += [f"skipped {line}" for line in by_status["skipped"]]
    lines += [f"done    {line}" for line in by_status["done"]]
    if len(lines) > MOST_LINES:
        left_out = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 1], f"... and {left_out} more lines in the JSON file"]
    return "\n".join(line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 4] + " ..." for line in lines)


def _lines(name: str, result: Mapping[str, Any]) -> list[str]:
    if result["status"] != "done":
        reason = str(result.get("reason", "")).strip()
        return [f"{name}: {reason.splitlines()[-1] if reason else 'no reason given'}"] + [
            f"{name}: {test}" for test in result.get("failing", [])
        ]
    if "modes" in result:
        return [f"{name}, {_mode(mode)}" for mode in result["modes"]]
    plain = {key: value for key, value in result.items() if not isinstance(value, (dict, list))}
    rows = [f"{name}: {numbers_in_words(plain)}".rstrip(": ")]
    parts = {key: value for key, value in result.items() if isinstance(value, dict)}
    return rows + [f"{name}, {key}: {numbers_in_words(value)}" for key, value in parts.items()]


def _mode(mode: Mapping[str, Any]) -> str:
    switches = " ".join(f"{key.upper()} {'on' if mode[key] else 'off'}" for key in ("ess", "ert"))
    kernel = mode["stages_ms"].get("kernel")
    return f"{switches}: {mode['ms_median']} ms, kernel {kernel} ms, {mode['samples']:,} samples"


def numbers_in_words(numbers: Mapping[str, Any]) -> str:
    """``ms median 1.5, passes 7``, with sizes and inner numbers behind their names."""
    parts = []
    for name, value in numbers.items():
        if name in ("status", "seconds", "program", "output", "reason"):
            continue
        text = f"({numbers_in_words(value)})" if isinstance(value, dict) else value
        parts.append(f"{name.replace('_', ' ')} {'x'.join(map(str, text)) if isinstance(text, list) else text}")
    return ", ".join(parts)
