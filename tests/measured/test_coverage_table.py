"""The table of `make coverage`."""

import coverage_table


def test_packages_are_added_up_and_modules_at_the_top_are_one_row() -> None:
    def counted(statements: int, lines: int, branches: int, taken: int) -> dict[str, dict[str, int]]:
        keys = ("num_statements", "covered_lines", "num_branches", "covered_branches")
        return {"summary": dict(zip(keys, (statements, lines, branches, taken), strict=True))}

    files = {
        "hnexport/build.py": counted(10, 9, 0, 0),
        "hnexport/parity/noise.py": counted(100, 90, 10, 5),
        "hnexport/parity/trace/points.py": counted(100, 100, 10, 10),
    }
    assert list(coverage_table.table({"files": files}))[2:] == [
        "| `hnexport` | 10 | 90.0% | none |",
        "| `hnexport.parity` | 200 | 95.0% | 75.0% |",
        "| all | 210 | 94.8% | 75.0% |",
    ]
