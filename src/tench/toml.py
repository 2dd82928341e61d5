"""Values written as TOML; tench.config reads it."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel


def to_toml(value: BaseModel) -> str:
    """`value` as TOML: plain keys first, then a table for every nested value; what is None is left out."""
    return _tables(value.model_dump(exclude_none=True, by_alias=True), "")


def _tables(values: Mapping[str, Any], prefix: str) -> str:
    plain = {key: v for key, v in values.items() if not _is_table(v)}
    text = "".join(f"{_key(key)} = {_value(v)}\n" for key, v in plain.items())
    for key, nested in values.items():
        name = f"{prefix}{_key(key)}"
        if isinstance(nested, Mapping):
            text += f"\n[{name}]\n{_tables(nested, name + '.')}"
        elif _is_table(nested):
            text += "".join(f"\n[[{name}]]\n{_tables(entry, name + '.')}" for entry in nested)
    return text


def _is_table(value: object) -> bool:
    rows = isinstance(value, Sequence) and not isinstance(value, str) and bool(value) and all(isinstance(v, Mapping) for v in value)
    return isinstance(value, Mapping) or rows


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(v)}" for key, v in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    return repr(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    """In quotes, as JSON writes it, and DEL escaped too: TOML takes all of JSON's escapes."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
