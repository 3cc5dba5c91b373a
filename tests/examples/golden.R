# Answers of golden people by examples/r, as JSON: Rscript golden.R henaw.R henaw.onnx golden.json
arguments <- commandArgs(trailingOnly = TRUE)
source(arguments[1])
inputs <- jsonlite::fromJSON(arguments[3], simplifyVector = FALSE)$inputs
# JSON has no NaN (null) and no infinities (text).
read <- function(values) {
  sapply(values, function(value) if (is.null(value)) NA_real_ else as.double(sub("inity", "", value)))
}
biomarkers <- t(sapply(inputs$biomarkers, read))
answers <- ask_henaw(open_henaw(arguments[2]), biomarkers, read(inputs$age), read(inputs$sex))
cat(jsonlite::toJSON(lapply(answers, function(a) as.vector(t(a))), digits = NA, na = "null"))
