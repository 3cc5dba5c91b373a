"""The panel's table: blood biomarkers in their order, and all that is known of each.

Everything that names a biomarker reads this table: the cohort reader, the request
validator, the graph, the export metadata and the documentation. A further biomarker is one
more entry at the end of :data:`PANEL`, a configuration and a fit.

Conversions: HbA1c NGSP to IFCC by the master equation NGSP = 0.09148 IFCC + 2.152 (Hoelzel
et al. 2004, Clin Chem 50:166-174, doi:10.1373/clinchem.2003.024802); creatinine 88.42 umol/L
per mg/dL from its molar mass, 113.12 g/mol; 1 ukat = 60 U by definition of the katal.

Each source says how far the figure could be checked: "abstract" was read in the source's
own abstract or text; "transcribed" was read in a transcription of the source's table;
"checked there" was read on the laboratory's own page; "from memory, not checked" was not
looked up; "stand-in" is not a published figure for this quantity.

A critical limit is at or inside the limits at which published lists tell a laboratory to phone
a doctor, so that every such value is flagged.
"""

from __future__ import annotations

from henaw.model.panel.entry import Biomarker, CriticalLimit, ReferenceInterval, Variation
from henaw.model.panel.units import Unit

_URINE = "it is measured in urine, not in serum or plasma"
_COUNT = "it is a count per volume; lymphocyte_pct is in %, a share of the leukocytes"
_RDW_SD = (
    "RDW-SD (fL) is another measurement than RDW-CV (%) and cannot be converted without the "
    "mean cell volume"
)
_NONE_PUBLISHED = (
    "no published limit: the 0.05 % or 99.95 % mark of the people that the model is fitted on"
)
_ENZYME_UNITS = {"ukat/L": Unit(factor=60.0), "nkat/L": Unit(factor=0.06)}
_HAEMOGLOBIN = (
    *("Hb", "Hgb", "Hemoglobin", "Haemoglobin", "tHb", "HbA1c", "Hb A1c", "HgbA1c", "A1c"),
    *("Hemoglobin A1c", "Haemoglobin A1c"),
)
_NGSP = ("NGSP", "DCCT", "NGSP/DCCT", "DCCT/NGSP")
_FRACTION_SPELLINGS = dict.fromkeys(
    ("1", "L/L", "ratio", "proportion", "fraction of 1", "proportion of 1", "decimal"), "fraction"
)

PANEL: tuple[Biomarker, ...] = (
    Biomarker(
        name="crp",
        label="C-reactive protein",
        unit="mg/L",
        minimum=0.01,
        maximum=500.0,
        log_scaled=True,
        systems=("inflammation",),
        reference=ReferenceInterval(
            low=(None, None),
            high=(5.0, 5.0),
            source="below 5 mg/L: test directories of Newcastle Hospitals and North Bristol NHS "
            "trusts (checked there)",
        ),
        critical_high=CriticalLimit(
            value=300.0,
            source="Royal College of Pathologists, The communication of critical and unexpected "
            "pathology results, G158, 2017: above 300 mg/L, to general practice (transcribed "
            "by pch-pathlab.com); Heart of England NHS Foundation Trust: 300 (checked there)",
        ),
        harmful=frozenset({"high"}),
        reporting_step=0.1,
        variation=Variation(
            within_person=42.2,
            analytical=5.2,
            source="Macy, Hayes & Tracy 1997, Clin Chem 43:52-58, doi:10.1093/clinchem/43.1.52 "
            "(abstract)",
        ),
        ukb_field=30710,
        nhanes=(
            ("LBXCRP", "mg/dL"),
            ("LBXHSCRP", "mg/L"),
        ),
        loinc=("1988-5", "30522-7"),
        loinc_by_method=("71426-1", "48421-2"),  # high sensitivity in blood, capillary blood
        synonyms=(
            *("CRP", "C-reactive protein", "hsCRP", "CRP, high sensitivity"),
            *("C-reactive protein, cardiac", "C-reactive protein, high sensitivity"),
            *("High sensitivity CRP", "High-sensitivity C-reactive protein", "CRP high sens"),
            *("CRP hs", "us-CRP", "CRP us", "CRP quant", "CRP quantitative"),
            *("C-reactive protein, quant", "Protein, C-reactive", "C-reaktives Protein"),
            *("CRP hochsensitiv", "CRP ultrasensitiv", "Hochsensitives CRP"),
            *("Protéine C réactive", "Protéine C-réactive ultrasensible", "CRP ultrasensible"),
            *("Proteína C reactiva", "Proteína C reactiva ultrasensible", "PCR ultrasensible"),
            *("Proteina C reattiva", "PCR ultrasensibile", "C-reactief proteïne"),
            *("C-reactieve proteïne",),
        ),
        shared_synonyms=("PCR",),
        other_units={"mg/dL": Unit(factor=10.0)},
    ),
    Biomarker(
        name="hba1c",
        label="Glycated haemoglobin",
        unit="mmol/mol",
        minimum=15.0,
        maximum=200.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(29.0, 29.0),
            high=(42.0, 42.0),
            source="29 to 42 mmol/mol: Junge et al. 2004, Clin Lab 50:317-321 (from memory, not "
            "checked); 42 (6.0 %) is where the International Expert Committee 2009, Diabetes "
            "Care 32:1327-1334, sees a high risk of diabetes (transcribed); the American "
            "Diabetes Association begins at 39 (5.7 %)",
        ),
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"high"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=2.0,
            analytical=2.7,
            source="CV_I 1.2 % on the NGSP scale, Ricos et al. 2020, Adv Lab Med 1:20200029, "
            "doi:10.1515/almed-2020-0029 (abstract), and CV_A 1.6 % NGSP; both times 1.65, the "
            "ratio of the scales at 36 mmol/mol",
        ),
        ukb_field=30750,
        ukb_title="Glycated haemoglobin (HbA1c)",
        nhanes=(("LBXGH", "%"),),
        loinc=("59261-8", "4548-4"),
        # HPLC, electrophoresis, calculation, DCCT protocol, pure fraction (loinc.org, checked).
        loinc_by_method=("17856-6", "4549-2", "17855-8", "96595-4", "71875-9"),
        loinc_refused={
            "62388-4": "it is on the JDS scale, whose % is lower than the NGSP's: give % (NGSP) or "
            "mmol/mol",
            "41995-2": "it is a mass per volume, not a share of the haemoglobin",
        },
        synonyms=(
            *("HbA1c", "A1c", "Hemoglobin A1c", "Haemoglobin A1c", "Glycated haemoglobin"),
            *("Glycated hemoglobin", "Glycosylated hemoglobin", "Glycohemoglobin"),
            *("Hemoglobin A1C/Hemoglobin", "HBA1CHGB", "HbA1c IFCC", "HbA1c NGSP", "HbA1c DCCT"),
            *("HgbA1c",),
            *("Hemoglobin A1c/Hemoglobin.total", "Glycated Hb", "GHb", "Glykiertes Hämoglobin"),
            *("Glykosyliertes Hämoglobin", "Glykohämoglobin", "Hämoglobin A1c"),
            *("Hémoglobine glyquée", "Hémoglobine glycosylée", "Hémoglobine A1c"),
            *("Hemoglobina glicosilada", "Hemoglobina glucosilada", "Hemoglobina glicada"),
            *("Hemoglobina A1c", "Emoglobina glicata", "Emoglobina glicosilata"),
            *("Emoglobina A1c", "Geglyceerd hemoglobine", "Geglycosyleerd hemoglobine"),
        ),
        other_units={"%": Unit(factor=1 / 0.09148, offset=2.152)},
        unit_spellings={
            **dict.fromkeys((f"% {name}" for name in (*_HAEMOGLOBIN, *_NGSP)), "%"),
            **dict.fromkeys((f"{name} %" for name in (*_HAEMOGLOBIN, *_NGSP)), "%"),
            **dict.fromkeys((f"mmol/mol {name}" for name in (*_HAEMOGLOBIN, "IFCC")), "mmol/mol"),
            "IFCC mmol/mol": "mmol/mol",
        },
        refused_units={
            **{
                unit: f"HbA1c in {unit} may be on the NGSP or on the IFCC scale: give % (NGSP) or "
                "mmol/mol"
                for unit in ("fraction", "1", "L/L", "mol/mol", "ratio")
            },
            **{
                unit: f"{unit} is lower than the NGSP's %: give % (NGSP) or mmol/mol"
                for unit in ("% JDS", "% Mono S", "% Swedish", "% IFCC")
            },
            **{
                unit: f"{unit} is a unit of the estimated average glucose: give HbA1c itself, in "
                "% (NGSP) or mmol/mol"
                for unit in ("mg/dL", "mmol/L")
            },
        },
    ),
    Biomarker(
        name="creatinine",
        label="Creatinine",
        unit="umol/L",
        minimum=5.0,
        maximum=2000.0,
        log_scaled=True,
        systems=("organ_function",),
        reference=ReferenceInterval(
            low=(45.0, 60.0),
            high=(90.0, 105.0),
            source="NORIP: Rustad et al. 2004, Scand J Clin Lab Invest 64:271-284, "
            "doi:10.1080/00365510410006324 (transcribed by Unilabs Norway)",
        ),
        critical_high=CriticalLimit(
            value=354.0,
            source="Royal College of Pathologists, The communication of critical and unexpected "
            "pathology results, G158, 2017: above 354 umol/L (transcribed by "
            "pch-pathlab.com), which is stage 3 of acute kidney injury, 4.0 mg/dL (KDIGO 2012)",
        ),
        harmful=frozenset({"high"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=4.4,
            analytical=2.2,
            source="Carobene et al. 2017, Clin Chem 63:1527-1536, "
            "doi:10.1373/clinchem.2017.275115 (transcribed)",
        ),
        ukb_field=30700,
        nhanes=(
            ("LBXSCR", "mg/dL"),
            ("LBDSCR", "mg/dL"),
        ),
        loinc=("14682-9", "2160-0"),
        loinc_by_method=("77140-2",),  # serum, plasma or blood
        loinc_refused={
            "2161-8": _URINE,
            "14683-7": _URINE,
            "38483-4": "it is measured in whole blood, not in serum or plasma",
        },
        synonyms=(
            *("Creatinine", "Creat", "Crea", "Serum creatinine", "Plasma creatinine"),
            *("S-Creatinine", "P-Creatinine", "SCr", "Creatinine enzymatic"),
            *("Creatinine (Jaffe)", "Kreatinin", "Krea", "Creatinin", "Serumkreatinin"),
            *("S-Kreatinin", "P-Kreatinin", "Kreatinin enzymatisch", "Kreatinin (Jaffé)"),
            *("Créatininémie", "Créatinine sérique", "Creatinina", "Creatinina sérica"),
            *("Creatinina sierica", "Creatininemia", "Kreatinine"),
        ),
        other_units={"mg/dL": Unit(factor=88.42), "mg/L": Unit(factor=8.842)},
    ),
    Biomarker(
        name="albumin",
        label="Albumin",
        unit="g/L",
        minimum=10.0,
        maximum=70.0,
        log_scaled=False,
        systems=("organ_function",),
        reference=ReferenceInterval(
            low=(36.0, 36.0),
            high=(48.0, 48.0),
            source="NORIP: Rustad et al. 2004, Scand J Clin Lab Invest 64:271-284, "
            "doi:10.1080/00365510410006324 (transcribed by Stavanger University "
            "Hospital, for 15 to 39 years; later 36 to 45, from 70 years 34 to 45)",
        ),
        critical_low=CriticalLimit(
            value=20.0,
            source="below 20 g/L: alert list of pch-pathlab.com (checked there); CTCAE v5.0, "
            "hypoalbuminemia of grade 3 (from memory, not checked)",
        ),
        harmful=frozenset({"low"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=2.5,
            analytical=1.5,
            source="Carobene et al. 2022, Clin Chem Lab Med 60:505-517, "
            "doi:10.1515/cclm-2021-0370 (transcribed); Qi et al. 2016, Clin Chim Acta 452:87-91 "
            "gives the same CV_I (abstract)",
        ),
        ukb_field=30600,
        nhanes=(("LBXSAL", "g/dL"),),
        loinc=("1751-7",),
        loinc_by_method=("61151-7", "61152-5"),  # bromocresol green, purple
        loinc_refused={"1754-1": _URINE, "14957-5": _URINE},
        synonyms=(
            *("Albumin", "Alb", "Serum albumin", "Plasma albumin", "S-Albumin", "P-Albumin"),
            *("Albumin (BCG)", "Albumin (BCP)", "Albumine", "Albumine sérique", "Albuminémie"),
            *("Albúmina", "Albúmina sérica", "Albumina sierica", "Albuminemia"),
        ),
        other_units={"g/dL": Unit(factor=10.0)},
    ),
    Biomarker(
        name="lymphocyte_pct",
        label="Lymphocyte percentage",
        unit="%",
        minimum=0.1,
        maximum=99.0,
        log_scaled=False,
        systems=("inflammation", "hematology"),
        reference=ReferenceInterval(
            low=(20.0, 20.0),
            high=(45.0, 45.0),
            source="20 to 40 or 45 %, as laboratories print it: Dacie & Lewis, Practical "
            "Haematology (from memory, not checked)",
        ),
        critical_low=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"low", "high"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=10.0,
            analytical=5.0,
            source="stand-in: the absolute count, CV_I 9.8 %, Coskun et al. 2018, Clin Chem Lab "
            "Med 56:1309-1318, doi:10.1515/cclm-2017-1155 (transcribed); 10.3 to 13.2 % in "
            "Statland et al. 1978, Am J Clin Pathol 69:48-54 (abstract)",
        ),
        ukb_field=30180,
        nhanes=(("LBXLYPCT", "%"),),
        loinc=("736-9",),
        loinc_by_method=("26478-8", "737-7"),  # no method, manual count
        loinc_refused={"731-0": _COUNT, "732-8": _COUNT, "26474-7": _COUNT},
        synonyms=(
            *("Lymphocyte percentage", "Lymphocytes %", "Lymphs %", "Lymph %", "LYM%"),
            *("LYMLE", "Lymphocytes percent", "Lymphocyte percent", "Lymphocytes relative"),
            *("Relative lymphocytes", "Lymphocytes/100 leukocytes", "% Lymphocytes"),
            *("% Lymphs", "% LYM", "LY%", "Lymphozyten %", "% Lymphozyten"),
            *("Lymphozyten relativ", "Lymphozyten prozentual", "Linfocitos %", "% Linfocitos"),
            *("Linfocitos porcentaje", "Linfociti %", "% Linfociti", "Linfociti percentuale"),
            *("Lymfocyten %", "% Lymfocyten", "Lymfocyten percentage"),
        ),
        shared_synonyms=(
            *("Lymphocytes", "Lymphocyte", "Lymphs", "Lymph", "LYM", "LY", "Lymphozyten"),
            *("Lympho", "Linfocitos", "Linfociti", "Lymfocyten"),
        ),
        other_units={"fraction": Unit(factor=100.0)},
        unit_spellings={
            **_FRACTION_SPELLINGS,
            **dict.fromkeys(
                ("% WBC", "% WBCs", "% leukocytes", "% leucocytes", "% white cells", "% lymphs"),
                "%",
            ),
        },
        refused_units={
            "G/L": "G/L is a count per volume (giga per litre); lymphocyte_pct is in %, a share"
        },
    ),
    Biomarker(
        name="rdw",
        label="Red cell distribution width (RDW-CV)",
        unit="%",
        minimum=8.0,
        maximum=40.0,
        log_scaled=True,
        systems=("hematology",),
        reference=ReferenceInterval(
            low=(11.5, 11.5),
            high=(14.5, 14.5),
            source="11.5 to 14.5 %; printed limits run from 11.0-14.0 to 11.5-15.4 by analyser "
            "(checked: ClinLab Navigator prints 11.0 to 15.0)",
        ),
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"high"}),
        reporting_step=0.1,
        variation=Variation(
            within_person=2.0,
            analytical=1.0,
            source="stand-in: below 3 % for erythrocyte quantities, Coskun et al. 2020, Clin Chem "
            "Lab Med 58:25-32, doi:10.1515/cclm-2019-0658 (abstract)",
        ),
        ukb_field=30070,
        ukb_title="Red blood cell (erythrocyte) distribution width",
        nhanes=(("LBXRDW", "%"),),
        loinc=("788-0",),
        loinc_by_method=("30385-9",),  # no method
        loinc_refused={"21000-5": _RDW_SD, "30384-2": _RDW_SD},
        synonyms=(
            *("RDW", "RDW-CV", "Red cell distribution width"),
            *("Red blood cell distribution width", "Erythrocyte distribution width", "RDW %"),
            *("RDW ratio", "RBC distribution width", "Red cell distribution width CV"),
            *("Erythrocyte distribution width ratio", "Erythrozytenverteilungsbreite"),
            "Indice de distribution des globules rouges",
            *("Indice de distribution érythrocytaire", "Ancho de distribución eritrocitaria"),
            "Amplitud de distribución eritrocitaria",
            *("Ampiezza di distribuzione eritrocitaria", "Ampiezza distribuzione eritrociti"),
            *("Erytrocyten distributiebreedte", "Rode bloedcel distributiebreedte", "ADE", "IDR"),
        ),
        shared_synonyms=("EVB",),
        unit_spellings=dict.fromkeys(("% CV", "CV", "CV %"), "%"),
        refused_units={"fL": f"{_RDW_SD}: give RDW-CV"},
    ),
    Biomarker(
        name="ggt",
        label="Gamma-glutamyltransferase",
        unit="U/L",
        minimum=1.0,
        maximum=5000.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(8.0, 11.0),
            high=(42.0, 58.0),
            source="Leino et al. 1995, Scand J Clin Lab Invest 55:243-250 (abstract), people "
            "without liver disease or much alcohol; NORIP, without that exclusion, has 45 to 115 "
            "(transcribed)",
        ),
        critical_high=CriticalLimit(
            value=840.0,
            source="CTCAE v5.0, GGT increased, grade 4 (life-threatening): above 20 times the "
            "upper limit (transcribed, PMC8807695), here women's, 42 U/L; no list of critical "
            "results has it",
        ),
        harmful=frozenset({"high"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=8.9,
            analytical=8.7,
            source="Carobene et al. 2017, Clin Chem 63:1141-1150, "
            "doi:10.1373/clinchem.2016.269811 (CV_I abstract, CV_A transcribed)",
        ),
        ukb_field=30730,
        ukb_title="Gamma glutamyltransferase",
        nhanes=(("LBXSGTSI", "U/L"),),
        loinc=("2324-2",),
        synonyms=(
            *("GGT", "GGTP", "Gamma GT", "y-GT", "Gamma-glutamyltransferase"),
            *("Gamma-glutamyl transpeptidase", "GGT (gamma)"),
            *("Gamma-glutamyl transferase (GGT)", "Gamma-glutamyl transpeptidase (GGT)"),
            *("Gamma-glutamil transferasa", "Gamma-glutamil transpeptidasa"),
            *("Gamma-glutamil transferasi", "Gamma-glutamil transpeptidasi"),
        ),
        other_units=_ENZYME_UNITS,
    ),
    Biomarker(
        name="ast",
        label="Aspartate aminotransferase",
        unit="U/L",
        minimum=1.0,
        maximum=10000.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(15.0, 15.0),
            high=(35.0, 45.0),
            source="NORIP: Stromme et al. 2004, Scand J Clin Lab Invest 64:371-384 (transcribed by "
            "Unilabs Norway)",
        ),
        critical_high=CriticalLimit(
            value=525.0,
            source="Royal College of Pathologists, The communication of critical and unexpected "
            "pathology results, G158, 2017: 15 times the upper limit (given for ALT, transcribed "
            "by pch-pathlab.com), here women's, 35 U/L; Homerton University Hospital phones AST "
            "above 600 at an upper limit of 40, Heart of England above 700 (checked there)",
        ),
        harmful=frozenset({"high"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=9.5,
            analytical=5.5,
            source="Carobene et al. 2017, Clin Chem 63:1141-1150 (CV_I abstract, CV_A transcribed)",
        ),
        ukb_field=30650,
        nhanes=(("LBXSASSI", "U/L"),),
        loinc=("1920-8",),
        loinc_by_method=("30239-8", "88112-8"),  # with and without pyridoxal phosphate
        synonyms=(
            *("AST", "ASAT", "SGOT", "GOT", "AST (SGOT)", "Aspartate aminotransferase"),
            *("Aspartate transaminase", "AST (GOT)", "ASAT (GOT)", "TGO", "ASAT (TGO)"),
            *("AspAT", "Aspartat-Aminotransferase", "Aspartattransaminase", "Transaminase GOT"),
            *("Transaminases GOT", "Transaminases TGO", "Aspartato aminotransferasa"),
            *("Aspartato transaminasa", "Aspartato aminotransferasi"),
            *("Aspartaat aminotransferase",),
        ),
        other_units=_ENZYME_UNITS,
    ),
    Biomarker(
        name="alt",
        label="Alanine aminotransferase",
        unit="U/L",
        minimum=1.0,
        maximum=10000.0,
        log_scaled=True,
        systems=("metabolism",),
        reference=ReferenceInterval(
            low=(8.0, 9.0),
            high=(38.0, 50.0),
            source="Leino et al. 1995, Scand J Clin Lab Invest 55:243-250 (abstract), people "
            "without liver disease or much alcohol; NORIP, without that exclusion, has 45 and 70 "
            "(transcribed)",
        ),
        critical_high=CriticalLimit(
            value=525.0,
            source="Royal College of Pathologists, The communication of critical and unexpected "
            "pathology results, G158, 2017: 15 times the upper limit (transcribed by "
            "pch-pathlab.com); Homerton University Hospital: 525 U/L at an upper limit of 35 "
            "(checked there); Heart of England phones from 400",
        ),
        harmful=frozenset({"high"}),
        reporting_step=1.0,
        variation=Variation(
            within_person=9.3,
            analytical=6.7,
            source="Carobene et al. 2017, Clin Chem 63:1141-1150 (CV_I abstract, CV_A transcribed)",
        ),
        ukb_field=30620,
        nhanes=(("LBXSATSI", "U/L"),),
        loinc=("1742-6",),
        loinc_by_method=("1743-4", "1744-2"),  # with and without pyridoxal phosphate
        synonyms=(
            *("ALT", "ALAT", "SGPT", "GPT", "ALT (SGPT)", "Alanine aminotransferase"),
            *("Alanine transaminase", "ALT (GPT)", "ALAT (GPT)", "TGP", "ALAT (TGP)", "AlaAT"),
            *("Alanin-Aminotransferase", "Alanintransaminase", "Transaminase GPT"),
            *("Transaminases GPT", "Transaminases TGP", "Alanina aminotransferasa"),
            *("Alanina transaminasa", "Alanina aminotransferasi"),
        ),
        other_units=_ENZYME_UNITS,
    ),
)
