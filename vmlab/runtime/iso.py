"""Files as the image of a disc, which is how a seed reaches its guest."""

from collections.abc import Mapping
from io import BytesIO


def iso(documents: Mapping[str, str]) -> bytes:
    """An ISO 9660 image with Rock Ridge and Joliet, labelled as NoCloud wants it. Only its time stamps differ."""
    from pycdlib import PyCdlib  # noqa: PLC0415  slow to import

    image = PyCdlib()
    image.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="cidata")
    for number, (name, text) in enumerate(documents.items()):
        data = text.encode()
        image.add_fp(BytesIO(data), len(data), f"/DOC{number}.;1", rr_name=name, joliet_path=f"/{name}")
    out = BytesIO()
    image.write_fp(out)
    image.close()
    return out.getvalue()
