"""Imported first by what needs more than hnexport-runtime: where that is alone, this says so in one sentence."""

from hnexport.installed import require_complete

__all__: list[str] = []

require_complete("building")
