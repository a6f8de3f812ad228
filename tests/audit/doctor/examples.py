"""The series of a rule's example as rows of a log."""


def rows_of_example(text):
    """``loss: 1.0 0.5; rate: 1 -`` as two rows; ``-`` is absent, and steps count from 1."""
    series = {}
    for part in text.split(";"):
        key, _, values = part.strip().rpartition(": ")
        series[key] = values.split()
    length = max(map(len, series.values()))
    steps = series.pop("step", [str(n) for n in range(1, length + 1)])
    return [
        {"step": int(steps[n])}
        | {key: number(values[n]) for key, values in series.items() if values[n] != "-"}
        for n in range(length)
    ]


def number(text):
    return float(text) if "." in text else int(text)
