"""A page as a reader has it: its headings, tables, notices; by what a browser would make of the file."""

from lxml import html


class Read:
    def __init__(self, text: str) -> None:
        self.tree = html.document_fromstring(text)

    @property
    def headings(self) -> list[str]:
        return [_text(one) for one in self.tree.iter("h1", "h2")]

    @property
    def tables(self) -> dict[str, list[dict[str, str]]]:
        """By caption, rows as headings and cells."""
        found = {}
        for table in self.tree.iter("table"):
            caption = table.getparent().get("aria-label")
            columns = [_text(one) for one in table.iter("th")]
            rows = [[_text(cell) for cell in row.iter("td")] for row in table.iter("tr")]
            found[caption] = [dict(zip(columns, row, strict=True)) for row in rows if row]
        return found

    @property
    def notices(self) -> list[str]:
        return [_text(one) for one in self.tree.find_class("notice")]

    @property
    def figures(self) -> dict[str, str]:
        """By caption, all words of the picture."""
        return {_text(one.find("figcaption")): _text(one.find_class("picture")[0]) for one in self.tree.iter("figure")}

    @property
    def text(self) -> str:
        return _text(self.tree.find("body"))


def _text(element: object) -> str:
    return " ".join(" ".join(element.itertext()).split())  # type: ignore[attr-defined]
