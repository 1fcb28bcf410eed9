"""HTML as a parser sees it, for tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Tags(HTMLParser):
    """All start tags with their attributes, and the text between tags."""

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), "an attribute twice"
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def named(self, name: str) -> list[dict]:
        return [attrs for tag, attrs in self.tags if tag == name]
