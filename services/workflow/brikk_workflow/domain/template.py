"""Values whose strings hold expressions."""

from __future__ import annotations

from brikk_workflow.domain.expression import Scope
from brikk_workflow.domain.payload import Json


class Template:
    """A compiled template."""

    def render(self, scope: Scope) -> Json:
        """Return the value."""
        raise NotImplementedError


def compile_template(value: Json) -> Template:
    """Compile."""
    raise NotImplementedError
