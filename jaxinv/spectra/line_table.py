"""The spectral lines that solar observers use; every number names its source in `REFERENCES`.

Where published values disagree, one is chosen and the others are in the line's note.
"""

from jaxinv.spectra.line import Line

REFERENCES = {
    "LS": "LS coupling, 3/2 + [S(S+1) - L(L+1)]/[2J(J+1)]",
    "NIST": "Kramida, Ralchenko, Reader & NIST ASD Team, NIST Atomic Spectra Database, doi:10.18434/T4W30F",
    "Ritz": "from the energy levels of the NIST Atomic Spectra Database, with the refractivity of `vacuum_to_air`",
    "pyMilne": "the line list of pyMilne (de la Cruz Rodriguez 2019, A&A 631, A153)",
    "SIR": "the line list of SIR (Ruiz Cobo & del Toro Iniesta 1992, ApJ 398, 375)",
    "Hazel": "the line list of Hazel 2 (Asensio Ramos, Trujillo Bueno & Landi Degl'Innocenti 2008, ApJ 683, 542)",
    "P-MILOS": "the line list of P-MILOS, github.com/IAA-InvCodes/P-MILOS",
    "RH": "the Ca II model atom of RH (Uitenbroek 2001, ApJ 557, 389)",
    "Nave": "Nave, Johansson, Learner, Thorne & Brault 1994, ApJS 94, 221",
    "Bard": "Bard, Kock & Kock 1991, A&A 248, 315",
    "Blackwell": "Blackwell, Ibbetson, Petford & Shallis 1979, MNRAS 186, 633",
    "Fuhr": "Fuhr, Martin & Wiese 1988, J. Phys. Chem. Ref. Data 17, Suppl. 4",
    "O'Brian": "O'Brian et al. 1991, JOSA B 8, 1185, as listed by linemake (Placco et al. 2021, RNAAS 5, 92)",
    "Wood": "Wood, Lawler, Sneden & Cowan 2014, ApJS 211, 20, as listed by linemake (Placco et al. 2021, RNAAS 5, 92)",
    "Pehlivan": "Pehlivan Rhodin et al. 2017, A&A 598, A102, as listed by linemake (Placco et al. 2021, RNAAS 5, 92)",
    "Safronova": "Safronova & Safronova 2011, Phys. Rev. A 83, 012503, as listed by linemake (Placco et al. 2021)",
    "Melendez": "Melendez & Barbuy 2009, A&A 497, 611",
    "Borrero": "Borrero, Lagg, Solanki & Collados 2005, A&A 436, 333, table 1",
    "Norton": "Norton et al. 2006, Sol. Phys. 239, 69",
}
"""Where the table's numbers come from; the keys stand in a line's `..._source`."""


# fmt: off
LINES = (
    Line(
        wavelength=5167.3216, j_lower=0, j_upper=1, log_gf=-0.854, element="Mg", term_lower="3P", term_upper="3S",
        excitation_potential=2.709, wavelength_source="NIST", lande_source="LS", log_gf_source="Pehlivan",
        note="b4, blended with Fe I 5167.49",
    ),
    Line(
        wavelength=5172.6843, j_lower=1, j_upper=1, log_gf=-0.363, element="Mg", term_lower="3P", term_upper="3S",
        excitation_potential=2.712, wavelength_source="NIST", lande_source="LS", log_gf_source="Pehlivan",
        note="NIST gives log gf = -0.393",
    ),
    Line(
        wavelength=5183.6042, j_lower=2, j_upper=1, log_gf=-0.168, element="Mg", term_lower="3P", term_upper="3S",
        excitation_potential=2.717, wavelength_source="NIST", lande_source="LS", log_gf_source="Pehlivan",
    ),
    Line(
        wavelength=5247.0504, j_lower=2, j_upper=3, log_gf=-4.946, element="Fe", term_lower="5D", term_upper="7D",
        excitation_potential=0.087, wavelength_source="SIR", lande_source="LS", log_gf_source="Blackwell",
    ),
    Line(
        wavelength=5250.2089, j_lower=0, j_upper=1, log_gf=-4.938, element="Fe", term_lower="5D", term_upper="7D",
        excitation_potential=0.121, abo_sigma=207.0, abo_alpha=0.252,
        wavelength_source="SIR", lande_source="LS", log_gf_source="Blackwell", abo_source="P-MILOS",
        note="O'Brian et al. 1991 give log gf = -4.90",
    ),
    Line(
        wavelength=5250.6454, j_lower=2, j_upper=3, log_gf=-2.18, element="Fe", term_lower="5P", term_upper="5P",
        excitation_potential=2.198, abo_sigma=343.5, abo_alpha=0.268,
        wavelength_source="Ritz", lande_source="LS", log_gf_source="O'Brian", abo_source="P-MILOS",
        note="SIR: 5250.6460, log gf = -2.01; P-MILOS: -2.047",
    ),
    Line(
        wavelength=5434.5232, j_lower=1, j_upper=0, log_gf=-2.13, element="Fe", term_lower="5F", term_upper="5D",
        excitation_potential=1.011, wavelength_source="Ritz", lande_source="LS", log_gf_source="O'Brian",
        note="insensitive to magnetic fields: for velocities",
    ),
    Line(
        wavelength=5576.0889, j_lower=1, j_upper=0, log_gf=-1.0, element="Fe", term_lower="5F", term_upper="5D",
        excitation_potential=3.430, abo_sigma=854.0, abo_alpha=0.232,
        wavelength_source="Ritz", lande_source="LS", log_gf_source="Fuhr", abo_source="SIR",
        note="insensitive to magnetic fields: for velocities",
    ),
    Line(
        wavelength=5889.95095, j_lower=0.5, j_upper=1.5, log_gf=0.108, element="Na", term_lower="2S", term_upper="2P",
        excitation_potential=0.0, wavelength_source="NIST", lande_source="LS", log_gf_source="NIST",
        note="hyperfine structure is not included",
    ),
    Line(
        wavelength=5895.92424, j_lower=0.5, j_upper=0.5, log_gf=-0.194, element="Na", term_lower="2S", term_upper="2P",
        excitation_potential=0.0, wavelength_source="NIST", lande_source="LS", log_gf_source="NIST",
        note="hyperfine structure is not included",
    ),
    Line(
        wavelength=6149.2460, j_lower=0.5, j_upper=0.5, log_gf=-2.69, element="Fe", ion=2,
        term_lower="4D", term_upper="4P", excitation_potential=3.889,
        wavelength_source="Ritz", lande_source="LS", log_gf_source="Melendez",
        note="pi and sigma components coincide (a doublet without linear polarization); NIST gives log gf = -2.8",
    ),
    Line(
        wavelength=6173.3340, j_lower=1, j_upper=0, log_gf=-2.880, g_lower=2.50, g_upper=0.0, element="Fe",
        term_lower="5P", term_upper="5D", excitation_potential=2.223, abo_sigma=281.0, abo_alpha=0.266,
        wavelength_source="pyMilne", lande_source="pyMilne", log_gf_source="Fuhr", abo_source="Hazel",
        note="the line of HMI and PHI; its Ritz wavelength is the same, SIR and P-MILOS use 6173.3356",
    ),
    Line(
        wavelength=6301.4995, j_lower=2, j_upper=2, log_gf=-0.718, g_lower=1.84, g_upper=1.50, element="Fe",
        term_lower="5P", term_upper="5D", excitation_potential=3.654, abo_sigma=834.0, abo_alpha=0.243,
        wavelength_source="pyMilne", lande_source="pyMilne", log_gf_source="Bard", abo_source="SIR",
        note="its Ritz wavelength is the same to 0.2 mA; SIR uses 6301.5012, NIST observed 6301.5008",
    ),
    Line(
        wavelength=6302.4931, j_lower=1, j_upper=0, log_gf=-1.160, g_lower=2.49, g_upper=0.0, element="Fe",
        term_lower="5P", term_upper="5D", excitation_potential=3.686, abo_sigma=850.0, abo_alpha=0.239,
        wavelength_source="pyMilne", lande_source="pyMilne", log_gf_source="SIR", abo_source="Hazel",
        note="log gf is not a laboratory value and differs between codes: SIR and pyMilne -1.160, Hazel -1.131, "
        "P-MILOS -0.97; its Ritz wavelength is the same to 0.2 mA, SIR uses 6302.4936",
    ),
    Line(
        wavelength=6767.772, j_lower=0, j_upper=1, log_gf=-2.14, g_lower=0.0, g_upper=1.426, element="Ni",
        term_lower="1S", term_upper="3P", excitation_potential=1.826,
        wavelength_source="Wood", lande_source="Norton", log_gf_source="Wood",
        note="the line of MDI and GONG; LS coupling would give g = 1.5",
    ),
    Line(
        wavelength=7698.9646, j_lower=0.5, j_upper=0.5, log_gf=-0.176, element="K", term_lower="2S", term_upper="2P",
        excitation_potential=0.0, wavelength_source="NIST", lande_source="LS", log_gf_source="NIST",
        note="hyperfine structure is not included",
    ),
    Line(
        wavelength=8498.023, j_lower=1.5, j_upper=1.5, log_gf=-1.365, element="Ca", ion=2,
        term_lower="2D", term_upper="2P", excitation_potential=1.692, abo_sigma=291.0, abo_alpha=0.275,
        wavelength_source="RH", lande_source="LS", log_gf_source="Safronova", abo_source="RH",
        note="RH's atom has log gf = -1.312",
    ),
    Line(
        wavelength=8542.091, j_lower=2.5, j_upper=1.5, log_gf=-0.410, element="Ca", ion=2,
        term_lower="2D", term_upper="2P", excitation_potential=1.700, abo_sigma=291.0, abo_alpha=0.275,
        wavelength_source="RH", lande_source="LS", log_gf_source="Safronova", abo_source="RH",
        note="RH's atom and Hazel have log gf = -0.362",
    ),
    Line(
        wavelength=8662.141, j_lower=1.5, j_upper=0.5, log_gf=-0.672, element="Ca", ion=2,
        term_lower="2D", term_upper="2P", excitation_potential=1.692, abo_sigma=291.0, abo_alpha=0.275,
        wavelength_source="RH", lande_source="LS", log_gf_source="Safronova", abo_source="RH",
        note="RH's atom has log gf = -0.623",
    ),
    Line(
        wavelength=10827.089, j_lower=2, j_upper=2, log_gf=0.363, element="Si", term_lower="3P", term_upper="3P",
        excitation_potential=4.954, abo_sigma=729.0, abo_alpha=0.231,
        wavelength_source="Hazel", lande_source="LS", log_gf_source="Hazel", abo_source="Hazel",
    ),
    Line(
        wavelength=15648.515, j_lower=1, j_upper=1, log_gf=-0.675, element="Fe", term_lower="7D", term_upper="7D",
        excitation_potential=5.426, abo_sigma=977.0, abo_alpha=0.229,
        wavelength_source="Nave", lande_source="LS", log_gf_source="Borrero", abo_source="Borrero",
    ),
    Line(
        wavelength=15652.874, j_lower=5, j_upper=4, log_gf=-0.043, g_lower=1.553, g_upper=1.565, element="Fe",
        term_lower="7D", excitation_potential=6.246, abo_sigma=1444.0, abo_alpha=0.330,
        wavelength_source="Borrero", lande_source="Borrero", log_gf_source="Borrero", abo_source="Borrero",
        note="g_upper: J1-l coupling of (6D9/2)4f[7/2]4 (LL04 p. 77); g_lower: chosen so that the effective factor is "
        "the published 1.53 (1.6, its LS value, would make it 1.67; Kurucz's 1.510 and 1.542 would make it 1.45)",
    ),
    Line(
        wavelength=15662.018, j_lower=5, j_upper=4, log_gf=0.19, element="Fe", term_lower="5F", term_upper="5F",
        excitation_potential=5.83, abo_sigma=1197.0, abo_alpha=0.240,
        wavelength_source="Hazel", lande_source="LS", log_gf_source="Hazel", abo_source="Hazel",
    ),
)
# fmt: on
