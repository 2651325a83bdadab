"""AMD's devices, as the kernel lists them in sysfs and libdrm names them.

``amd-smi`` and ``rocm-smi`` print serial numbers along with names, so they are not asked.
"""

from __future__ import annotations

from pathlib import Path

from metavox.telemetry.hardware.device import Product, product_name

_AMD = 0x1002
_NAMES = (Path("/usr/share/libdrm/amdgpu.ids"), Path("/opt/amdgpu/share/libdrm/amdgpu.ids"))
_LONGEST = 1024 * 1024


def describe(sysfs: Path = Path("/sys"), names: tuple[Path, ...] = _NAMES) -> Product | None:
    """The device of this machine; of several kinds none is named, None where there is no device.

    Args:
        sysfs: Where the kernel lists devices.
        names: Where libdrm's table of names may be.
    """
    cards = [card / "device" for card in sorted((sysfs / "class/drm").glob("card[0-9]*")) if "-" not in card.name]
    ours = [card for card in cards if _number(card / "vendor") == _AMD]
    if not ours:
        return None
    driver = _text(sysfs / "module/amdgpu/version")
    table = next((text for text in map(_text, names) if text), "")
    alike = {_product(card, table, driver) for card in ours}
    return alike.pop() if len(alike) == 1 else Product(vendor="amd", driver_version=driver)


def _product(card: Path, table: str, driver: str | None) -> Product:
    device, revision = _number(card / "device"), _number(card / "revision")
    name = None if device is None or revision is None else parse_name(table, device, revision)
    return Product(name, "amd", _number(card / "mem_info_vram_total"), driver)


def parse_name(table: str, device: int, revision: int) -> str | None:
    """The product in libdrm's table ``amdgpu.ids``, whose lines say device, revision and name."""
    for line in table.splitlines():
        parts = [part.strip() for part in line.split(",", 2)]
        try:
            if len(parts) == 3 and (int(parts[0], 16), int(parts[1], 16)) == (device, revision):
                return product_name(parts[2])
        except ValueError:  # a comment with two commas
            continue
    return None


def _number(path: Path) -> int | None:
    text = _text(path)
    try:
        return None if text is None else int(text, 0)  # 0x1002, or decimal bytes
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_LONGEST).strip()
    except OSError:
        return None
