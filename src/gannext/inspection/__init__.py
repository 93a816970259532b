"""What a person looks at: heat maps, outlined regions and the report. NumPy and Pillow, never torch."""

from gannext.inspection.colours import heat_map, overlay
from gannext.inspection.folder import MapsFolder
from gannext.inspection.regions import Region, find_regions
from gannext.inspection.report import Report

__all__ = ["MapsFolder", "Region", "Report", "find_regions", "heat_map", "overlay"]
