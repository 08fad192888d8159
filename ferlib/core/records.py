"""Frozen dataclasses that are stored as JSON."""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from typing import Any, Self, get_args, get_origin


@dataclasses.dataclass(frozen=True)
class Record:
    """Base of dataclasses that JSON files contain; fields may be records, tuples and dictionaries."""

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can represent; fields that are None are left out."""
        fields = dataclasses.asdict(self, dict_factory=lambda items: {k: v for k, v in items if v is not None})
        record: dict[str, Any] = json.loads(json.dumps(fields))
        return record

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Return the record that `to_json` wrote; unknown keys are ignored.

        Raises
        ------
        TypeError, ValueError
            A field without default is missing, or a value has the wrong type; the message names the field.
        """
        missing = [
            field.name
            for field in dataclasses.fields(cls)
            if field.default is field.default_factory is dataclasses.MISSING and field.name not in values
        ]
        if missing:
            raise TypeError(f"it lacks {', '.join(missing)}")
        hints = typing.get_type_hints(cls)
        return cls(**{name: _from_json(values[name], hint, name) for name, hint in hints.items() if name in values})


def _from_json(value: Any, hint: Any, name: str) -> Any:
    """Return a value from JSON in the type of a field."""
    kinds = get_args(hint)
    origin = get_origin(hint)
    if hint is Any:
        return value
    if origin is types.UnionType:
        return None if value is None else _from_json(value, kinds[0], name)
    if origin is typing.Literal and value in kinds:
        return value
    if origin is tuple and isinstance(value, list | tuple):
        items = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(items) != len(value):
            raise ValueError(f"{name} needs {len(items)} values, not {len(value)}")
        return tuple(_from_json(item, kind, name) for item, kind in zip(value, items, strict=True))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _from_json(item, kinds[1], f"{name}.{key}") for key, item in value.items()}
    if origin is None and issubclass(hint, Record):
        return hint.from_json(value)
    if origin is None and isinstance(value, int | float if hint is float else hint):
        return hint(value)
    raise TypeError(f"{name} cannot be {value!r}")
