"""Whether a value fits a JSON schema of the strict subset: shared by test files."""

import re
from typing import Any


def fits(value: Any, schema: Any) -> bool:
    """Tell whether ``value`` fits a schema of the strict subset."""
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    match schema["type"]:
        case "object":
            inner = schema["properties"]
            return list(value) == list(inner) and all(
                fits(value[key], inner[key]) for key in inner
            )
        case "array":
            return all(fits(item, schema["items"]) for item in value)
        case kind:
            types = {"string": str, "integer": int, "number": float, "boolean": bool}
            return isinstance(value, types[kind])
