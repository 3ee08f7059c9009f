"""Look of the Gradio page; the theme needs Gradio, the style sheet does not."""

from openenv.core._lazy import lazy_table
from openenv.server.gradio_page import OPENENV_GRADIO_CSS

__all__ = ["OPENENV_GRADIO_CSS"]

__getattr__, __dir__ = lazy_table(__name__, {"OPENENV_GRADIO_THEME": "openenv.server.gradio_page"})
