"""HL7 V3 data types of names and addresses: elements to clinical values and back, as in `datatypes`.

Spec: 10 §6.
"""

from typing import Final

from lxml import etree

from openscr.clinical.values import Address, Name, Telecom
from openscr.hl7.datatypes import NotWritable, Remarks, attributes, has_text, must_match, text_of
from openscr.hl7.wrapper import local_name
from openscr.transport.xml import escape


class EntityName:
    """A name of a person or an organisation (PN, ON): parts, or text alone. Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> Name | None:
        remarks.check_attributes(element, "use")
        use = element.get("use")
        parts: dict[str, list[str]] = {}
        for each in element:
            if not isinstance(each.tag, str):
                continue
            name = local_name(each)
            if name in ("prefix", "given", "family", "suffix"):
                remarks.check_attributes(each)
                parts.setdefault(name, []).append(text_of(each))
            else:
                remarks.add("unknown", element, name)
        if parts:
            if has_text(element):
                remarks.add("unknown", element, "text")
            words_of = {name: words[0] if len(words) == 1 else tuple(words) for name, words in parts.items()}
            return Name(**words_of, use=use)  # type: ignore[arg-type]
        text = text_of(element)
        return Name(text=text, use=use) if text.strip() else None

    def write(self, name: str, value: Name) -> str:
        if value.text is not None:
            return f"<{name}{attributes(use=value.use)}>{escape(value.text)}</{name}>"
        parts = "".join(
            f"<{part}>{escape(word)}</{part}>"
            for part, words in value.parts.items()
            for word in ((words,) if isinstance(words, str) else words)
        )
        return f"<{name}{attributes(use=value.use)}>{parts}</{name}>"


class PostalAddress:
    """A postal address (AD): lines, city, postcode, or text alone. Other parts become lines. Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> Address | None:
        remarks.check_attributes(element, "use")
        lines: list[str] = []
        known: dict[str, str] = {}
        for each in element:
            if not isinstance(each.tag, str):
                continue
            name, text = local_name(each), text_of(each)
            if name in ("city", "postalCode") and name not in known:
                known[name] = text
            elif text.strip():
                lines.append(text)
                if name != "streetAddressLine":
                    remarks.add("differs", element, name)
        if lines or known:
            if has_text(element):
                remarks.add("unknown", element, "text")
            return Address(
                lines=tuple(lines), city=known.get("city"), postcode=known.get("postalCode"), use=element.get("use")
            )
        text = text_of(element)
        return Address(text=text, use=element.get("use")) if text.strip() or element.get("use") else None

    def write(self, name: str, value: Address) -> str:
        if value.text is not None:
            return f"<{name}{attributes(use=value.use)}>{escape(value.text)}</{name}>"
        parts = [f"<streetAddressLine>{escape(line)}</streetAddressLine>" for line in value.lines]
        parts += [f"<city>{escape(value.city)}</city>"] if value.city else []
        parts += [f"<postalCode>{escape(value.postcode)}</postalCode>"] if value.postcode else []
        return f"<{name}{attributes(use=value.use)}>{''.join(parts)}</{name}>"


class OrganisationName(EntityName):
    """A name of an organisation (ON): it has no given or family name. Spec: 10 §6."""

    def write(self, name: str, value: Name) -> str:
        if value.given or value.family:
            raise NotWritable(f"{name} of an organisation has no given or family name; use text")
        return super().write(name, value)


class TelecomAddress:
    """A telephone number or the like (TEL). Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> Telecom | None:
        remarks.check_attributes(element, "value", "use")
        remarks.check_children(element)
        value = element.get("value")
        return Telecom(value, element.get("use")) if value else None

    def write(self, name: str, value: Telecom) -> str:
        must_match(r"[\-a-z0-9+]+:[^ ]*", name, value.value)
        return f"<{name}{attributes(value=value.value, use=value.use)}/>"


NAME: Final = EntityName()
ORGANISATION_NAME: Final = OrganisationName()
ADDRESS: Final = PostalAddress()
TELECOM: Final = TelecomAddress()
