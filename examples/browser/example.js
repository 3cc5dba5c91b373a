/** Values that the page starts with, so that it shows what it does. They are nobody's. */
export const EXAMPLE = {
  age: "54",
  sex: 0,
  values: {
    crp: { value: "2.6", unit: "mg/L" },
    hba1c: { value: "5.8", unit: "%" },
    creatinine: { value: "0.9", unit: "mg/dL" },
    albumin: { value: "43", unit: "g/L" },
    lymphocyte_pct: { value: "27", unit: "%" },
    rdw: { value: "13.6", unit: "%" },
    ggt: { value: "", unit: "U/L" },
    ast: { value: "22", unit: "U/L" },
    alt: { value: "24", unit: "U/L" },
  },
};
