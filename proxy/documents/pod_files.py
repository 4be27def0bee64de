"""Small files beside the settings: what the pod is made of, and the placeholders that the application got."""

import re
from collections.abc import Iterator
from typing import Final

from proxy.core.identity import ImageReference
from proxy.documents.problems import Fault
from proxy.documents.setting_kinds import shown
from proxy.documents.setting_values import SettingProblem
from proxy.documents.settings_table import IMAGES_FILE, LABELS_FILE, OWNER_FILE, PLACEHOLDERS_FILE

# Kubernetes bounds all annotations of an object by 256 KiB and labels by far less in practice.
MAX_LABELS_BYTES: Final = 262_144
# Every placeholder is looked for in every governed request; a hundred services make a few kilobytes.
MAX_PLACEHOLDERS_BYTES: Final = 65_536
# What is shorter is a setting that an SDK needs beside its key (`AWS_EC2_METADATA_DISABLED=true`).
MIN_PLACEHOLDER_LENGTH: Final = 8


def read_labels(data: bytes) -> dict[str, str] | SettingProblem:
    """The downward API's file: one `key="value"` a line, the value quoted as Go's strconv.Quote does."""
    try:
        return dict(_pairs(_text(data, MAX_LABELS_BYTES)))
    except Fault as fault:
        return SettingProblem(LABELS_FILE.name, fault.message, fault.fix)


def read_images(data: bytes) -> tuple[ImageReference, ...] | SettingProblem:
    """Image references between blanks, as the injector joins those of the application's containers."""
    try:
        return tuple(_image(word) for word in _text(data, MAX_LABELS_BYTES).split())
    except Fault as fault:
        return SettingProblem(IMAGES_FILE.name, fault.message, fault.fix)


def _image(word: str) -> ImageReference:
    image = ImageReference.parse(word)
    if image is None:
        fix = "write it as `registry.example.com/team/trainer@sha256:…`"
        raise Fault(f"{shown(word)} is not an image reference", fix)
    return image


# A kind, and a name as Kubernetes gives names.
_OWNER: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}/[a-z0-9.-]{1,253}").fullmatch


def read_owner(data: bytes) -> str | SettingProblem:
    """`Job/train-resnet`; empty for a pod that nobody owns."""
    try:
        owner = _text(data, MAX_LABELS_BYTES).strip()
    except Fault as fault:
        return SettingProblem(OWNER_FILE.name, fault.message, fault.fix)
    if owner and not _OWNER(owner):
        fix = "write a kind and a name: `Job/train-resnet`"
        return SettingProblem(OWNER_FILE.name, f"{shown(owner)} is not an owner", fix)
    return owner


def read_placeholders(data: bytes) -> frozenset[str] | SettingProblem:
    """An env file: `NAME=value` lines, taken as they are, without quotes or escapes; `#` begins a comment."""
    try:
        return frozenset(_values(_text(data, MAX_PLACEHOLDERS_BYTES)))
    except Fault as fault:
        return SettingProblem(PLACEHOLDERS_FILE.name, fault.message, fault.fix)


def _text(data: bytes, most: int) -> str:
    if len(data) > most:
        raise Fault(f"the file has more than {most} bytes", "check that the variable names the right file")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Fault("the file is not UTF-8", "check that the variable names the right file") from None


_LABEL_LINE: Final = re.compile(r'([^="\\\s]+)="((?:[^"\\]|\\.)*)"').fullmatch
_LABELS_FIX: Final = "mount the field metadata.labels of the downward API"


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    # Only line feeds separate: other breaks of Unicode are part of a value.
    for place, line in enumerate(text.split("\n"), 1):
        found = _LABEL_LINE(line)
        if found:
            yield found[1], _unquoted(found[2], place)
        elif line:
            raise Fault(f'line {place} is not `key="value"`', _LABELS_FIX)


_ESCAPE: Final = re.compile(
    rb'\\(?:([abfnrtv\\"])|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|.)', re.DOTALL
)
_CONTROLS: Final = dict(zip(b'abfnrtv\\"', b'\a\b\f\n\r\t\v\\"', strict=True))


def _unquoted(value: str, place: int) -> str:
    """By way of bytes: an escape in hexadecimal digits may name one that is no character by itself."""

    def character(found: re.Match[bytes]) -> bytes:
        control, byte, *points = found.groups()
        if control is not None:
            return bytes([_CONTROLS[control[0]]])
        if byte is not None:
            return bytes([int(byte, 16)])
        return chr(int(next(filter(None, points)), 16)).encode()

    try:
        return _ESCAPE.sub(character, value.encode()).decode()
    except (UnicodeError, ValueError, OverflowError, StopIteration):
        raise Fault(f"line {place} holds an escape that Go does not write", _LABELS_FIX) from None


_PLACEHOLDER_LINE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=([\x20-\x7e]*)").fullmatch


def _values(text: str) -> Iterator[str]:
    for place, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _PLACEHOLDER_LINE(line)
        if found is None:  # the line is not shown: whoever confused two files may have put keys into it
            raise Fault(
                f"line {place} is not `NAME=value`", "write a name, `=` and a value of printable ASCII"
            )
        if len(found[1]) >= MIN_PLACEHOLDER_LENGTH:
            yield found[1]
