"""Files in and out: Stokes cubes, bursts, products, tables of instruments."""

from jaxinv.compute.atomic import OutputError as OutputError
from jaxinv.compute.atomic import check_writable as check_writable
from jaxinv.compute.atomic import discard_folder as discard_folder
from jaxinv.io.bursts import read_burst as read_burst
from jaxinv.io.bursts import write_burst as write_burst
from jaxinv.io.errors import InputError as InputError
from jaxinv.io.images import provenance_of as provenance_of
from jaxinv.io.products import read_product as read_product
from jaxinv.io.products import write_product as write_product
from jaxinv.io.restorations import read_restoration as read_restoration
from jaxinv.io.restorations import write_restoration as write_restoration
from jaxinv.io.results import read_result as read_result
from jaxinv.io.stars import read_star_system as read_star_system
from jaxinv.io.stars import write_star_system as write_star_system
from jaxinv.io.stokes import read_stokes as read_stokes
from jaxinv.io.stokes import stokes_cube as stokes_cube
from jaxinv.io.stokes import write_stokes as write_stokes
from jaxinv.io.tables import read_map as read_map
from jaxinv.io.tables import read_matrix as read_matrix
from jaxinv.io.tables import read_spectral_psf as read_spectral_psf
from jaxinv.io.tables import read_stars as read_stars
from jaxinv.io.tables import read_wavelengths as read_wavelengths
