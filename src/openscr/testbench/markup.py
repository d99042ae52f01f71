"""XML written piece by piece: three functions, so that no markup of ours is ever unescaped.

Spec: 10 §16 "Escaping".
"""

from openscr.transport.xml import escape


def element(name: str, /, *children: str, **attributes: str) -> str:
    """Write an element; ``children`` are written already, attribute values are escaped here."""
    return f"<{name}{_attributes(attributes)}>{''.join(children)}</{name}>"


def empty(name: str, /, **attributes: str) -> str:
    """Write an element without content."""
    return f"<{name}{_attributes(attributes)}/>"


def text(name: str, content: str) -> str:
    """Write an element that holds text only."""
    return f"<{name}>{escape(content)}</{name}>"


def _attributes(attributes: dict[str, str]) -> str:
    return "".join(f' {key}="{escape(value)}"' for key, value in attributes.items())
