"""A service over HTTP: a REST API, video jobs, a stream of frames, and the page that runs in a browser."""

from ferlib.web.options import ServeOptions

__all__ = ["ServeOptions"]
