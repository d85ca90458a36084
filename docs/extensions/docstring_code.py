"""Which lines of a docstring are code, and of which language; no Sphinx is needed to tell."""

from collections.abc import Iterator


def marked(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is code: what is four further in than the line before, after an empty line."""
    last = 0  # the indentation of the last line of prose
    code = False
    blank = True
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if not line:
            yield code, line
        elif (code or blank) and indent >= last + 4:
            if not code:
                language = "sh" if line.strip().startswith(("hnexport ", "python ")) else "python"
                yield True, f"{' ' * last}.. code-block:: {language}"
                yield True, ""
            code = True
            yield True, line
        else:
            code, last = False, indent
            yield False, line
        blank = not line
