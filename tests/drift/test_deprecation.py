"""A deprecated key in a log is said with its end."""

from coordexp_metrics import CATALOGUE, Family, read
from coordexp_metrics.audit.validate import validate
from coordexp_metrics.contract.declare import deprecated, total
from coordexp_metrics.contract.units import OBJECT


def test_a_log_with_a_deprecated_key_is_warned_of(tmp_path):
    """It is said with its replacement and its end, and gates only under --strict."""
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 1, "loss": 1.0, "old/found": 3}\n')

    class Old(Family, pattern="old/{name}"):
        """Panels of a page."""

        found_total = total("panels found", unit=OBJECT)
        found = total(
            "panels found",
            unit=OBJECT,
            deprecated=deprecated(since="0.1", replacement="old/found_total", remove_in="999"),
        )

    report = validate(read(path), CATALOGUE.extended(Old))
    (finding,) = (f for f in report.findings if f.rule == "CXM210")
    assert finding.key == "old/found"
    assert "old/found_total" in finding.message
    assert "999" in finding.message
    assert (report.exit_code(), report.exit_code(strict=True)) == (0, 1)
