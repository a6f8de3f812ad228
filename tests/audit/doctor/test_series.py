"""A table gives back every number under its key and row, and knows how finely it was rounded."""

from hypothesis import given, settings
from hypothesis import strategies as st

from coordexp_metrics import Record
from coordexp_metrics.audit.series import Table

KEYS = st.sampled_from(["loss", "a/x", "a/y", "b/x", "n"])
ROWS = st.lists(st.dictionaries(KEYS, st.floats(-1e99, 1e99), max_size=5), max_size=30)


def table_of(rows):
    table = Table("log.jsonl", "train")
    for number, metrics in enumerate(rows, 1):
        table.add(Record("train", number, metrics, origin=("log.jsonl", number)))
    return table


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_a_column_is_what_the_rows_had(rows):
    table = table_of(rows)
    for key in {key for row in rows for key in row}:
        there = [(n, row[key]) for n, row in enumerate(rows) if key in row]
        column = table[key]
        assert list(zip(column.rows, column.values, strict=True)) == there
        assert (column.least, column.greatest) == (min(column.values), max(column.values))
        assert all(column.at(n) == row.get(key) for n, row in enumerate(rows))


@settings(max_examples=50, deadline=None)
@given(ROWS)
def test_columns_are_brought_together_by_row(rows):
    table = table_of(rows)
    keys = sorted({key for row in rows for key in row})[:2]
    if not keys:
        return
    at, columns = table.together(keys)
    both = [n for n, row in enumerate(rows) if all(key in row for key in keys)]
    assert list(at) == both
    assert [list(column) for column in columns] == [[rows[n][k] for n in both] for k in keys]


def test_the_last_decimal_of_a_writer_is_told_from_the_values():
    values = [0.12345678, 0.5, 0.87654321, 0.33333333, 0.25]
    column = table_of([{"loss": value} for value in values])["loss"]
    assert column.quantum == 0.5e-8
    assert not column.whole


def test_dyadic_fractions_and_full_floats_were_not_rounded():
    table = table_of([{"a/x": n / 8, "a/y": n / 7} for n in range(1, 20)])
    assert (table["a/x"].quantum, table["a/y"].quantum) == (0, 0)


def test_a_writer_that_rounds_everything_speaks_for_short_columns():
    rows = [
        {"a/x": round(n / 7, 8), "a/y": round(n / 9, 8), "b/x": round(n / 11, 8)}
        for n in range(1, 9)
    ]
    rows[0]["n"] = 0.25
    assert table_of(rows)["n"].quantum == 0.5e-8


def test_a_float64_is_told_from_a_float32():
    table = table_of([{"a/x": 104167.86458333 + n, "a/y": n / 4} for n in range(1, 9)])
    assert table["a/x"].grain < 1e-11
    assert table["a/y"].grain > 1e-8


def test_a_number_at_the_end_of_the_floats_is_left_out_and_its_row_is_not():
    table = table_of([{"a/x": 1e308, "a/y": 2.0}, {"a/x": 3.0, "a/y": -1e200}])
    assert list(table["a/x"].values) == [3.0]
    assert list(table["a/y"].values) == [2.0]
    assert len(table) == 2
