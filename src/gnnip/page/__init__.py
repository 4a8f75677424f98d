"""One page of results, made from tables and figures alone: no torch, no network, no server."""

from gnnip.page.write import write_page

__all__ = ["write_page"]
