"""Pages for people: every face that has some renders them here, so that all look and behave alike.

Invariants:

* Nothing is fetched from another host, and nothing runs: styles and images come from our static files, there is no
  script and no inline style, and the content security policy says so. A face that needs scripts names them itself.
* Whatever is shown is escaped; pages are not kept by browsers.
* Every page has one ``h1``, a skip link, its language, and a title that begins with ``Error:`` when a form was filled
  in wrongly.

The components are those of NHS.UK frontend, by way of ``nhsuk-frontend-jinja``; its logo and typeface are not used.

Spec: 00 §7; 80 §6.1, §8.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import ChainableUndefined, ChoiceLoader, Environment, PackageLoader
from starlette.responses import HTMLResponse, Response

from openscr.pages.static_files import STYLES, static_address


@dataclass(frozen=True, slots=True)
class FormError:
    """What is wrong with a form: the words, and the id of the field that they are about."""

    text: str
    field: str


def page_headers(*, form_targets: Sequence[str] = ()) -> dict[str, str]:
    """Return the headers of a page. Forms post to ourselves; ``form_targets`` are origins that we may send on to.

    A browser holds the policy of the form against every address that the answer to the form leads to. Spec: 00 §7.
    """
    targets = " ".join(("'self'", *form_targets))
    return {
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
        f"form-action {targets}; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cache-Control": "no-store",
    }


class Pages:
    """Renders the templates of a face's ``package``, which extend ``openscr/base.html``.

    ``service_name`` stands in the header and in every title, ``service_href`` is where it leads. ``notice`` is said on
    every page under the header, for example that this is a test environment.
    """

    def __init__(self, package: str, *, service_name: str, service_href: str = "/", notice: str = "") -> None:
        self._environment = Environment(
            loader=ChoiceLoader(
                [PackageLoader(package), PackageLoader("openscr.pages"), PackageLoader("nhsuk_frontend_jinja")]
            ),
            autoescape=True,
            # The components ask for parameters that nobody gave; they say themselves that they need this one.
            undefined=ChainableUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            service_name=service_name,
            service_href=service_href,
            notice=notice,
            styles=tuple(static_address(name) for name in STYLES),
            icon=static_address("icon.svg"),
        )

    def render(
        self, template: str, *, title: str, errors: Sequence[FormError] = (), values: Mapping[str, Any] | None = None
    ) -> str:
        """Return a page. ``errors`` stand in the summary at its top, and in ``error_of`` by field for the template."""
        return self._environment.get_template(template).render(
            **(values or {}),
            title=title,
            errors=errors,
            error_of={error.field: error.text for error in errors},
        )

    def answer(
        self,
        template: str,
        *,
        title: str,
        status: int = 200,
        errors: Sequence[FormError] = (),
        form_targets: Sequence[str] = (),
        values: Mapping[str, Any] | None = None,
    ) -> Response:
        """Return the answer that shows a page, with its headers."""
        html = self.render(template, title=title, errors=errors, values=values)
        return HTMLResponse(html, status_code=status, headers=page_headers(form_targets=form_targets))


TEST_NOTICE: Final = "Every person and every patient in it is invented."
"""What pages of a test environment say under their header. Spec: 35 §9.5."""
