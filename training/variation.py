"""How much each biomarker changes between two blood draws of one person.

The interval around a biological age rests on these. CV_I is the within-person
biological variation, CV_A the analytical imprecision, both in percent of the value; a
repeat draw varies by sqrt(CV_I^2 + CV_A^2). Where a published CV_A is only a within-run
figure it is raised to half of CV_I, the usual quality goal (Fraser & Petersen 1993,
Clin Chem 39:1447-1453).

How far each figure could be checked is said beside it: "abstract" was read in the
source's own abstract or text; "transcribed" was read in a transcription of the source's
table; "stand-in" is not a published figure for this quantity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from henaw.model.biomarkers import NAMES


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Within-person and analytical variation of one biomarker, in percent."""

    within_person: float
    analytical: float
    source: str

    @property
    def total_cv(self) -> float:
        """Coefficient of variation of a repeat draw, as a fraction of the value."""
        return math.hypot(self.within_person, self.analytical) / 100.0


VARIATION: dict[str, Variation] = {
    "crp": Variation(
        within_person=42.2,
        analytical=5.2,
        source="Macy, Hayes & Tracy 1997, Clin Chem 43:52-58, doi:10.1093/clinchem/43.1.52 "
        "(abstract)",
    ),
    "hba1c": Variation(
        within_person=2.0,
        analytical=2.7,
        source="CV_I 1.2 % on the NGSP scale, Ricos et al. 2020, Adv Lab Med 1:20200029, "
        "doi:10.1515/almed-2020-0029 (abstract), and CV_A 1.6 % NGSP; both times 1.65, the "
        "ratio of the scales at 36 mmol/mol",
    ),
    "creatinine": Variation(
        within_person=4.4,
        analytical=2.2,
        source="Carobene et al. 2017, Clin Chem 63:1527-1536, "
        "doi:10.1373/clinchem.2017.275115 (transcribed)",
    ),
    "albumin": Variation(
        within_person=2.5,
        analytical=1.5,
        source="Carobene et al. 2022, Clin Chem Lab Med 60:505-517, "
        "doi:10.1515/cclm-2021-0370 (transcribed); Qi et al. 2016, Clin Chim Acta 452:87-91 "
        "gives the same CV_I (abstract)",
    ),
    "lymphocyte_pct": Variation(
        within_person=10.0,
        analytical=5.0,
        source="stand-in: the absolute count, CV_I 9.8 %, Coskun et al. 2018, Clin Chem Lab "
        "Med 56:1309-1318, doi:10.1515/cclm-2017-1155 (transcribed); 10.3 to 13.2 % in "
        "Statland et al. 1978, Am J Clin Pathol 69:48-54 (abstract)",
    ),
    "rdw": Variation(
        within_person=2.0,
        analytical=1.0,
        source="stand-in: below 3 % for erythrocyte quantities, Coskun et al. 2020, Clin Chem "
        "Lab Med 58:25-32, doi:10.1515/cclm-2019-0658 (abstract)",
    ),
    "ggt": Variation(
        within_person=8.9,
        analytical=8.7,
        source="Carobene et al. 2017, Clin Chem 63:1141-1150, "
        "doi:10.1373/clinchem.2016.269811 (CV_I abstract, CV_A transcribed)",
    ),
    "ast": Variation(
        within_person=9.5,
        analytical=5.5,
        source="Carobene et al. 2017, Clin Chem 63:1141-1150 (CV_I abstract, CV_A transcribed)",
    ),
    "alt": Variation(
        within_person=9.3,
        analytical=6.7,
        source="Carobene et al. 2017, Clin Chem 63:1141-1150 (CV_I abstract, CV_A transcribed)",
    ),
}


def list_total_cv() -> list[float]:
    """Coefficients of variation of a repeat draw in the panel's order, as fractions."""
    return [VARIATION[name].total_cv for name in NAMES]
