"""The kit that pages are made of: parts with no words of their own, and what writes them as HTML and Markdown."""
