"""``python -m tests.contract``: writes the recorded contract again."""

from tests.contract.recorded import FILE, text

FILE.write_text(text(), encoding="utf-8")
