"""The JSON Schema of the YAML form, by which editors complete and check it as it is written."""

from __future__ import annotations

from brikk_workflow.domain.language import DEFINITION, STEPS
from brikk_workflow.domain.payload import Json


def editor_schema() -> dict[str, Json]:
    """Return the schema, made of the tables that the reader goes by."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A workflow of Brikk",
        **DEFINITION.schema(),
        "$defs": STEPS.definitions(),
    }
