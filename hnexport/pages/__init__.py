"""Pages for people: one HTML file each, that needs nothing else. No scripts, nothing from elsewhere, light and dark."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hnexport.text import clean

__all__ = ["page"]


def page(package: str, template: str, /, **values: Any) -> str:
    """A template of a package's folder `templates`, which extends `base.html` of this one."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates"), PackageLoader(__name__, "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
    )
    return environment.get_template(template).render(**values) + "\n"


def _visible(value: object) -> object:
    """A name must not hide anything or turn the direction of what is written around it."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
