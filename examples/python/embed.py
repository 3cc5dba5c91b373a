"""The ONNX file in an app: onnxruntime and numpy, nothing of HENAW.

python examples/python/embed.py build/exported/henaw.onnx
"""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
# CRP mg/L, HbA1c mmol/mol, creatinine umol/L, albumin g/L, lymphocytes %, RDW %,
# GGT U/L, AST U/L, ALT U/L; NaN where a test was not done.
values = np.array([[1.2, 35.5, 79.6, 45, 29, 13.1, np.nan, 24, 20]], np.float32)
inputs = {"biomarkers": values, "age": np.float32([54]), "sex": np.int64([0])}
age, interval, reliable = session.run(["biological_age", "interval", "reliable"], inputs)
# The model always computes numbers. Show them only where reliable is true.
if reliable[0]:
    print(f"biological age {age[0]:.1f} ({interval[0, 0]:.1f} to {interval[0, 1]:.1f}) years")
else:
    print("no reliable answer: show no number, see docs/embedding.md")
