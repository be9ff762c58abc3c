"""The kit of page parts: what a reader gets of it as HTML and as Markdown."""

import re
from collections import Counter

from reading import Read

from vmlab.report.pages import html, markdown
from vmlab.report.pages.parts import Cell, Column, Commands, Facts, Figure, Notice, Page, Section, Table, Words

EVIL = '<script>alert(1)</script> & "quoted" | `x` *y*'


def page(*sections: Section) -> Page:
    return Page(f"Title {EVIL}", f"Lead {EVIL}", sections)


def table(rows: int = 2) -> Table:
    cells = [[Cell(f"node{n}"), Cell(f"{n}", ("a",) if n == 1 else (), strong=n == 1)] for n in range(rows)]
    return Table("Figures", [Column("node"), Column("MiB/s", number=True)], cells, (("a", "simulated"),))


def test_no_text_becomes_markup() -> None:
    parts = [
        Notice(EVIL, "failure"),
        Words(EVIL),
        Facts([(EVIL, EVIL)]),
        Commands([EVIL]),
        Table(EVIL, [Column(EVIL)], [[Cell(EVIL, (EVIL,))]], ((EVIL, EVIL),)),
        Figure(EVIL, "<svg></svg>", (EVIL,)),
    ]
    text = html.render(page(Section(EVIL, parts)))
    read = Read(text)
    assert not list(read.tree.iter("script"))
    assert read.headings == [f"Title {EVIL}", EVIL]
    assert "<script" not in text


def test_a_page_asks_nothing_of_the_network() -> None:
    text = html.render(page(Section("One", [table()])))
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//|@import|url\((?!#)", text)


def test_what_stands_in_the_cells() -> None:
    read = Read(html.render(page(Section("One", [table()]))))
    assert read.tables == {"Figures": [{"node": "node0", "MiB/s": "0"}, {"node": "node1", "MiB/s": "1 a"}]}
    assert "a simulated" in read.text


def test_a_section_without_parts_is_not_written_and_links_lead_somewhere() -> None:
    read = Read(html.render(page(*(Section(f"S {n}", [Words("x")] if n != 2 else []) for n in range(5)))))
    assert read.headings[1:] == ["S 0", "S 1", "S 3", "S 4"]
    links = [one.get("href").removeprefix("#") for one in read.tree.iter("a")]
    ids = Counter(one.get("id") for one in read.tree.iter() if one.get("id"))
    assert len(links) == 4
    assert all(ids[link] == 1 for link in links)


def test_a_long_table_is_folded() -> None:
    read = Read(html.render(page(Section("One", [table(41)]))))
    assert next(read.tree.iter("summary")).text == "Figures, 41 rows"
    assert not list(Read(html.render(page(Section("One", [table(40)])))).tree.iter("summary"))


def test_markdown_says_the_same() -> None:
    parts = [
        table(),
        Notice("careful"),
        Facts([("kernel", "6.1_x")]),
        Commands(["vmlab up a.yaml"]),
        Figure("f", "<svg/>"),
    ]
    text = markdown.render(page(Section("One", parts), Section("Empty")))
    assert "| node | MiB/s |\n| --- | ---: |\n| node0 | 0 |\n| node1 | **1** \\[a\\] |\n" in text
    assert "> [!WARNING]\n> careful" in text
    assert "- kernel: 6.1\\_x" in text
    assert "    vmlab up a.yaml" in text
    assert "Empty" not in text
    assert "<svg" not in text


def test_markdown_keeps_a_cell_in_its_row() -> None:
    text = markdown.render(page(Section("One", [Table("t", [Column("c")], [[Cell("a | b\nc <d>")]])])))
    assert "| a \\| b c \\<d\\> |" in text
