"""Broken downloads: files whose name promises one thing and that hold another, whatever their extension."""

import os

HEAD = 512  # bytes of a file that are looked at
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def broken_download(path: str | os.PathLike[str]) -> str | None:
    """What a file is in place of what its name promises: a Git LFS pointer, a web page, nothing; with what to do.

    None if it is none of them, or cannot be read (its reader then says why).
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - os.PathLike
            head = file.read(HEAD)
    except (OSError, ValueError):
        return None
    return broken_content(head)


def broken_content(head: bytes) -> str | None:
    """As :func:`broken_download`, for the first bytes of a file."""
    if not head:
        return "an empty file: download or copy it again"
    for mark in _BOMS:
        head = head.removeprefix(mark)
    text = head.replace(b"\0", b"").lstrip().lower()
    if text.startswith(b"version https://git-lfs.github.com/spec"):
        return "a Git LFS pointer in place of the file: run 'git lfs pull' in its repository"
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "a web page in place of the file: the download needs a sign-in, or its address has changed"
    if text.startswith(b"<?xml") and (b"<error" in text or b"<html" in text):
        return "a web server's error message in place of the file: download it again"
    if len(head) == HEAD and not head.strip(b"\0"):
        return "a file that begins with zeros only: the download was not finished"
    return None
