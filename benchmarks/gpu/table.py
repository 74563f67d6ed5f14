"""The results of a GPU check for people: at most 30 short lines."""

from collections.abc import Mapping, Sequence
from typing import Any

MOST_LINES = 30
LONGEST_LINE = 120
MOST_TESTS = 6  # that are named of one section


def table(document: Mapping[str, Any], names: Sequence[str] | None = None) -> str:
    """What failed first, with the ids of failing tests; then what was skipped and why; then the figures.

    Args:
        document: the results.
        names: of the sections to tell; None: all.
    """
    device = document.get("device", {}).get("name", "no device")
    all_sections: Mapping[str, Mapping[str, Any]] = document["sections"]
    wanted = all_sections if names is None else names
    sections = {name: all_sections[name] for name in wanted if name in all_sections}
    by_status: dict[str, list[str]] = {"failed": [], "skipped": [], "done": []}
    for name, result in sections.items():
        by_status[result["status"]] += _lines(name, result)
    counts = ", ".join(
        f"{sum(result['status'] == status for result in sections.values())} {status}" for status in by_status
    )
    lines = [f"{device}, commit {str(document['commit'])[:12]}: {counts}"]
    lines += [f"FAILED  {line}" for line in by_status["failed"]]
    lines += [f"skipped {line}" for line in by_status["skipped"]]
    lines += [f"done    {line}" for line in by_status["done"]]
    if len(lines) > MOST_LINES:
        left_out = len(lines) - MOST_LINES + 1
        lines = [*lines[: MOST_LINES - 1], f"... and {left_out} more lines in the JSON file"]
    return "\n".join(line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 4] + " ..." for line in lines)


def _lines(name: str, result: Mapping[str, Any]) -> list[str]:
    """One line; more for failing tests and for a section that says several ``headlines``."""
    if result["status"] == "done":
        headlines = result.get("headlines") or [""]
        return [f"{name}: {line}".rstrip(": ") for line in headlines]
    reason = str(result.get("reason", "")).strip()
    failing = list(result.get("failing", []))
    told = [f"{name}: {reason.splitlines()[-1] if reason else 'no reason given'}"]
    told += [f"{name}: {test}" for test in failing[:MOST_TESTS]]
    return told + ([f"{name}: and {len(failing) - MOST_TESTS} more tests"] if len(failing) > MOST_TESTS else [])
