"""The documentation says what the code does."""

from pathlib import Path

from app.settings import markdown_table

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_documents_every_setting() -> None:
    text = README.read_text(encoding="utf-8")
    documented = text.split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    assert documented.strip() == markdown_table().strip(), "paste the output of app.settings.markdown_table()"
