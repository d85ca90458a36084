"""`hnexport schema`: the JSON Schemas of what hnexport writes."""

import click

__all__ = ["schema"]


@click.command()
@click.argument("name", required=False)
def schema(name: str | None) -> None:
    """Print the JSON Schema of what hnexport writes as JSON: NAME is manifest, parity, evaluate, …

    Without NAME: their names, and what each is of.
    """
    from hnexport.cli import render
    from hnexport.schemas import names
    from hnexport.schemas import schema as schema_of

    if name is not None:
        render.print_json(schema_of(name))
        return
    columns = (render.Column("name"), render.Column("JSON Schema of"))
    rows = [(one, str(schema_of(one)["title"])) for one in names()]
    render.show_table(render.Table(columns=columns, rows=rows))
