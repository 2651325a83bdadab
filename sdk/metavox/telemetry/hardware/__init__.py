"""What a request ran on, in names of products: never a name, number or address of this one machine."""

from metavox.telemetry.hardware.detection import detect, visible
from metavox.telemetry.hardware.device import Hardware, host_arch, os_type, undescribed

__all__ = ["Hardware", "detect", "host_arch", "os_type", "undescribed", "visible"]
