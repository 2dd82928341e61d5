"""The page's own files: those that lie in `static`, and nothing else."""

from hashlib import sha256
from importlib import resources

from tench.serve.refusals import Refusal

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
}
"""What is handed out, by the ends of names; the system's own table may say anything."""


def _names() -> frozenset[str]:
    folder = resources.files("tench.serve") / "static"
    return frozenset(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else frozenset()


def content(name: str) -> tuple[bytes, str, str]:
    """A file of the page, its media type and its ETag. Raises Refusal for what is none: the name is looked for, never joined to a path."""
    media_type = TYPES.get(name.rpartition(".")[2])
    if media_type is None or name not in _names():
        raise Refusal(404, "not_found", f"There is no file '{name[:100]}'; the page is at /.")
    data = (resources.files("tench.serve") / "static" / name).read_bytes()
    return data, media_type, f'"{sha256(data).hexdigest()[:32]}"'
