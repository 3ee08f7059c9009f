"""A stand-in for the Gradio library: notes what a page is built of, and lets a test press its buttons."""

from importlib.machinery import ModuleSpec
from types import ModuleType


class Part:
    """Anything a page is made of; usable as a context manager, like Gradio's containers."""

    def __init__(self, kind, *positional, **options):
        self.kind, self.positional, self.options = kind, positional, options
        self.pressed = None
        Part.made.append(self)

    made: list["Part"] = []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def click(self, handler, inputs=(), outputs=()):
        self.pressed = handler


class Gradio(ModuleType):
    """The names of the library that pages use."""

    KINDS = "Blocks Row Column Button Markdown Code Dropdown Checkbox Number Textbox".split()

    def __init__(self):
        super().__init__("gradio")
        self.__spec__ = ModuleSpec("gradio", None, origin="stand-in")
        self.Error = RuntimeError
        self.mounted = {}
        self.tabs = None
        self.themes = ModuleType("gradio.themes")
        self.themes.Default = lambda: "theme"
        Part.made = []
        for kind in self.KINDS:
            setattr(
                self, kind, lambda *positional, _kind=kind, **options: Part(_kind, *positional, **options)
            )

    def TabbedInterface(self, pages, names, title):
        self.tabs = names
        return pages[0]

    def mount_gradio_app(self, app, page, path):
        self.mounted[path] = page

    def parts(self, kind):
        """The parts of one kind, in the order in which they were made."""
        return [part for part in Part.made if part.kind == kind]
