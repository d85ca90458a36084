"""An evaluation as a page for people: one HTML file that needs nothing else."""

from hnexport.evaluate import charts
from hnexport.evaluate.curves import curves, stopped_plots
from hnexport.evaluate.drawing import Plot
from hnexport.evaluate.results import Classification, Evaluation
from hnexport.installed import require_extra

__all__ = ["NAMES", "evaluation_page"]

NAMES = {
    "entropy": "predictive entropy",
    "mutual_information": "mutual information",
    "confidence": "1 - largest probability",
}
"""What uncertainties are called where people read of them."""
_MEMBERS = 64  # rows of the table


def evaluation_page(found: Evaluation) -> str:
    """The page as HTML: tables, the reliability diagram and curves; no scripts, light and dark.

    Raises:
        IncompleteError: jinja2 is not installed.
    """
    require_extra("the page", "jinja2", "evaluate")
    from hnexport.pages import page

    part = found.sources[0].classification
    if part is None:
        return page(
            "hnexport.evaluate", "values.html", found=found, part=found.sources[0].regression, plots=_value_plots(found)
        )
    several = len(part.each) > 1
    names = {name: said for name, said in NAMES.items() if several or name != "mutual_information"}
    return page(
        "hnexport.evaluate",
        "evaluation.html",
        found=found,
        part=part,
        several=several,
        names=names,
        all_names=NAMES,
        members=list(zip(found.members, part.each, strict=True))[:_MEMBERS],
        plots=_plots(found, part, names, several=several),
        stopping=curves(found),
    )


def _plots(found: Evaluation, part: Classification, names: dict[str, str], *, several: bool) -> list[Plot]:
    plots = [
        charts.reliability(part.reliability, part.member_reliability, part.ensemble.ece, several),
        charts.risk([(said, part.coverage[name]) for name, said in names.items()]),
    ]
    if several:
        plots.append(charts.members(part, found.members))
    plots += stopped_plots(found)
    if part.ood:
        plots.append(
            charts.roc(
                "Other data",
                "What does not belong, found by how unsure the ensemble is of it.",
                [(said, part.ood[name]) for name, said in names.items()],
                ("taken for other data though they belong", "other data found"),
            )
        )
    elif part.wrong:
        plots.append(
            charts.roc(
                "Mistakes",
                "Wrong answers, found by how unsure the ensemble is of them.",
                [(said, part.wrong[name]) for name, said in names.items()],
                ("right answers taken for wrong", "wrong answers found"),
            )
        )
    text = "How unsure the ensemble is of its answers. Heights are square roots, so that what is rare is seen."
    for name in [one for one in ("entropy", "mutual_information") if one in names]:
        title = names[name].capitalize()
        plots.append(charts.histogram(title, text, part.histograms[name], "nats"))
    return plots


def _value_plots(found: Evaluation) -> list[Plot]:
    part = found.sources[0].regression
    if part is None or not part.intervals:
        return []
    plots = [charts.intervals(part.intervals)]
    if part.ood is not None:
        text = "What does not belong, found by the members' standard deviation."
        labels = ("taken for other data though they belong", "other data found")
        plots.append(charts.roc("Other data", text, [("standard deviation", part.ood)], labels))
    return plots
