"""Constants of nature in the units that `spectra` uses."""

SPEED_OF_LIGHT = 299792.458
"""[km/s]"""

LORENTZ = 4.668644772e-13
"""e / (4 pi m_e c) [1/(angstrom G)], CODATA 2018; a Zeeman shift of 1 is `LORENTZ * wavelength**2 * field_strength`."""
